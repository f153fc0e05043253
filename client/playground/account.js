// What an account can do besides syncing: a forgotten password, and providers that open it.

import { h } from './elements'

/** Fill `place` with what the backend of a device offers. `explain` says what failed. */
export async function showAccount(place, { backend }, email, explain) {
  const { mail, providers } = await backend.methods()
  const said = h('p', { ariaLive: 'polite' })

  const attempt = (action) => async (event) => {
    event.preventDefault()
    try {
      said.replaceChildren(...(await action()))
    } catch (error) {
      said.textContent = explain(error)
    }
  }

  const forgot = attempt(async () => {
    await backend.forgotPassword(email)
    const mails = h('a', { href: 'mail/', target: '_blank' }, 'mail')
    return ['A code for a new password is in the ', mails, ', with a link to the page that takes it.']
  })
  place.append(
    h('p', {}, mail ? 'The server sends mail.' : 'The server sends no mail (MAIL_URL).'),
    h('button', { click: forgot, disabled: !mail }, 'Forgot password'),
  )

  const provider = h('select', {}, ...providers.map(({ name }) => h('option', { value: name }, name)))
  const idToken = h('input', { autocomplete: 'off', required: true, size: 30 })
  const link = attempt(async () => {
    await backend.linkIdentity({ provider: provider.value, idToken: idToken.value.trim() })
    const linked = await backend.identities()
    return [`Opened by: ${linked.map((one) => one.provider).join(', ')}.`]
  })
  place.append(
    providers.length
      ? h(
          'form',
          { submit: link },
          h('label', {}, 'Provider ', provider),
          h('label', {}, ' ID token ', idToken),
          h('button', {}, 'Link'),
        )
      : h('p', {}, 'No provider signs anybody in here (OIDC_PROVIDERS_FILE).'),
    said,
  )
  place.hidden = false
}
