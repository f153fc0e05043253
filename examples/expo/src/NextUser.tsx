import { useState } from 'react'
import { Button, Text } from 'react-native'
import { useSession, useSync } from 'watermelondb-backend-client/react'

import { database } from './backend'
import { styles } from './styles'

/** The database of this phone belongs to another account than the one that is signed in. */
export function NextUser() {
  const { logout } = useSession()
  const { pending, sync } = useSync()
  const [busy, setBusy] = useState(false)

  async function startAfresh() {
    setBusy(true)
    await database.write(() => database.unsafeResetDatabase())
    // A failure is in the state of the sync; the next one is by itself.
    await sync().catch(() => {})
  }

  return (
    <>
      <Text style={styles.title}>Another account was here</Text>
      <Text>
        {pending > 0
          ? `${pending} of its records were not sent to the server yet, and would be lost.`
          : 'Everything of it is on the server.'}
      </Text>
      <Button disabled={busy} onPress={startAfresh} title="Remove its records from this phone" />
      <Button disabled={busy} onPress={logout} title="Log out" />
    </>
  )
}
