import { useState } from 'react'
import { Button, Text, TextInput } from 'react-native'
import { useSession } from 'watermelondb-backend-client/react'

import { backend } from './backend'
import { styles } from './styles'

/** A new password, with a code by mail. */
export function Forgot({ email, onBack }: { email: string; onBack: () => void }) {
  const { login } = useSession()
  const [code, setCode] = useState('')
  const [newPassword, setNewPassword] = useState('')
  const [error, setError] = useState('')

  async function submit() {
    setError('')
    try {
      await backend.resetPassword({ email, code, newPassword })
      await login({ email, password: newPassword })
    } catch (failure) {
      setError(String((failure as Error).message))
    }
  }

  return (
    <>
      <Text style={styles.title}>New password</Text>
      <Text>If {email} has an account, a code is on its way there.</Text>
      <TextInput
        aria-label="Code"
        autoCapitalize="characters"
        autoComplete="one-time-code"
        onChangeText={setCode}
        placeholder="Code"
        style={styles.input}
        value={code}
      />
      <TextInput
        aria-label="New password"
        autoComplete="new-password"
        onChangeText={setNewPassword}
        placeholder="New password"
        secureTextEntry
        style={styles.input}
        value={newPassword}
      />
      <Button onPress={submit} title="Set it and log in" />
      <Button onPress={onBack} title="Back" />
      <Text role="alert">{error}</Text>
    </>
  )
}
