import { useEffect, useState } from 'react'
import { Button, Text, TextInput } from 'react-native'
import type { Methods } from 'watermelondb-backend-client'
import { useSession } from 'watermelondb-backend-client/react'

import { backend } from './backend'
import { Forgot } from './Forgot'
import { ProviderButton } from './ProviderButton'
import { styles } from './styles'

export function Login() {
  const { login, register, signIn } = useSession()
  const [methods, setMethods] = useState<Methods>()
  const [email, setEmail] = useState('')
  const [password, setPassword] = useState('')
  const [hasForgotten, setForgotten] = useState(false)
  const [error, setError] = useState('')

  useEffect(() => {
    // Offline there is nothing to sign in to.
    backend.methods().then(setMethods, () => {})
  }, [])

  async function attempt(call: () => Promise<unknown>) {
    setError('')
    try {
      await call()
    } catch (failure) {
      setError(String((failure as Error).message))
    }
  }

  async function forgot() {
    await backend.forgotPassword(email)
    setForgotten(true)
  }

  if (hasForgotten) return <Forgot email={email} onBack={() => setForgotten(false)} />
  return (
    <>
      <Text style={styles.title}>Tasks</Text>
      <TextInput
        aria-label="E-mail"
        autoCapitalize="none"
        autoComplete="email"
        inputMode="email"
        onChangeText={setEmail}
        placeholder="E-mail"
        style={styles.input}
        value={email}
      />
      <TextInput
        aria-label="Password"
        autoComplete="password"
        onChangeText={setPassword}
        placeholder="Password"
        secureTextEntry
        style={styles.input}
        value={password}
      />
      <Button onPress={() => attempt(() => login({ email, password }))} title="Log in" />
      <Button onPress={() => attempt(() => register({ email, password }))} title="Register" />
      {methods?.mail && <Button onPress={() => attempt(forgot)} title="Forgot password" />}
      {methods?.providers.map((provider) => (
        <ProviderButton
          key={provider.name}
          onToken={(token) => attempt(() => signIn(token))}
          provider={provider}
        />
      ))}
      <Text role="alert">{error}</Text>
    </>
  )
}
