import { makeRedirectUri, ResponseType, useAuthRequest, useAutoDiscovery } from 'expo-auth-session'
import { randomUUID } from 'expo-crypto'
import { maybeCompleteAuthSession } from 'expo-web-browser'
import { useState } from 'react'
import { Button } from 'react-native'
import type { IdToken, Methods } from 'watermelondb-backend-client'

// In a browser the provider leads back to this app in a window of its own, which ends here.
maybeCompleteAuthSession()

interface Props {
  provider: Methods['providers'][number]
  onToken: (token: IdToken) => void
}

/** Get an ID token in the browser, from any provider that gives one to a page (OpenID's implicit flow). */
export function ProviderButton({ provider, onToken }: Props) {
  const [nonce] = useState(randomUUID)
  const discovery = useAutoDiscovery(provider.issuer)
  const [request, , prompt] = useAuthRequest(
    {
      clientId: provider.clientIds[0] ?? '',
      redirectUri: makeRedirectUri(),
      responseType: ResponseType.IdToken,
      scopes: ['openid', 'email'],
      usePKCE: false,
      extraParams: { nonce },
    },
    discovery,
  )

  async function press() {
    const answer = await prompt()
    const idToken = answer.type === 'success' ? answer.params.id_token : undefined
    if (idToken) onToken({ provider: provider.name, idToken, nonce })
  }

  return <Button disabled={!request} onPress={press} title={`Sign in with ${provider.name}`} />
}
