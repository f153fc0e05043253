import { View } from 'react-native'
import { BackendProvider, useSession } from 'watermelondb-backend-client/react'

import { auto } from './backend'
import { Login } from './Login'
import { NextUser } from './NextUser'
import { styles } from './styles'
import { Tasks } from './Tasks'

export default function App() {
  return (
    <BackendProvider autoSync={auto}>
      <View style={styles.screen}>
        <Screen />
      </View>
    </BackendProvider>
  )
}

function Screen() {
  const { status } = useSession()
  if (status === 'loading') return null
  if (status === 'signed_out') return <Login />
  if (status === 'account_changed') return <NextUser />
  return <Tasks />
}
