// Devices of one user side by side, and of a guest. Bundled by `make playground`.

import encodeQR from 'qr'
import { showAccount } from './account'
import { createDevice, devices } from './device'
import { h } from './elements'
import { share, spaceColumn } from './share'
import { deviceCard } from './view'

const BACKEND =
  new URLSearchParams(location.search).get('backend') || new URL('v1', location.href).href
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]']

function say(text, wrong = false) {
  const status = document.getElementById('status')
  status.textContent = text
  status.className = wrong ? 'wrong' : ''
}

/** Say what failed, and what to do about it. */
function explain(error) {
  if (!['network', 'timeout'].includes(error.code)) return error.message
  const elsewhere = new URL(BACKEND).origin !== location.origin
  const hint = elsewhere ? ` Does it let pages of ${location.origin} in (CORS_ALLOWED_ORIGINS)?` : ''
  return `${BACKEND} does not answer. Is \`make run\` still running?${hint}`
}

/**
 * The link with which another browser signs in to the same account.
 *
 * What it holds stands behind #, which browsers send to no server: into no log and no Referer. It is the
 * password, since the API hands out nothing shorter-lived; the account is this page's own and as throw-away.
 */
function joinLink(address, { email, password }) {
  const link = new URL(address)
  link.search = location.search
  link.hash = `join=${email},${password}`
  return link.href
}

/** Who is to sign in by the link that was opened, if that is one. */
function invited() {
  const [, email, password] = /^#join=([^,]+),(.+)$/.exec(location.hash) ?? []
  return email && { email, password }
}

function showJoin(account, phones) {
  const isLocal = LOOPBACK.includes(location.hostname)
  const address = isLocal ? phones : location.href
  const join = document.getElementById('join')
  if (address) {
    const link = joinLink(address, account)
    join.append(
      h('p', {}, 'Scan it with a phone in the same network. It signs in to this account.'),
      h('img', { className: 'qr', src: encodeQR(link, 'data-url'), alt: 'QR code of the phone’s link' }),
    )
  } else {
    join.append(
      h(
        'p',
        {},
        'A phone cannot reach this machine at localhost. Stop the server, start it with ',
        h('code', {}, 'HOST=0.0.0.0 make run'),
        ' and load this page again.',
      ),
    )
  }
  const here = joinLink(location.href, account)
  const properties = { className: 'button', href: here, target: '_blank' }
  join.append(h('a', properties, 'Or open one more device in a new tab'))
  join.hidden = false
}

function newAccount() {
  return {
    email: `${crypto.getRandomValues(new Uint32Array(2)).join('')}@example.com`,
    password: crypto.getRandomValues(new Uint32Array(4)).join('-'),
  }
}

function showShare(hosts, tables) {
  const button = document.getElementById('share')
  button.hidden = !tables.some(spaceColumn)
  const tell = (error) => say(explain(error), true)
  button.addEventListener('click', () => {
    button.hidden = true
    share(hosts[0], hosts, (name) => add(name, tables), newAccount(), tell).catch(tell)
  })
}

function add(name, tables) {
  const device = createDevice(name, { tables, url: BACKEND, explain, say })
  device.card = deviceCard(device)
  document.getElementById('devices').append(device.card)
  return device
}

async function start() {
  document.getElementById('backend').textContent = BACKEND
  // Another link in the same tab is another account.
  addEventListener('hashchange', () => location.reload())
  const { tables, phones } = await (await fetch('playground.json')).json()
  const guest = invited()
  if (guest) {
    document.getElementById('steps').hidden = true
    const device = add('This device', tables)
    await device.backend.login({ ...guest, deviceName: 'A device that joined' })
    say(`Signed in as ${guest.email}, like the devices of the page that you come from.`)
    return
  }
  const [phone, tablet] = [add('Phone', tables), add('Tablet', tables)]
  const account = newAccount()
  await phone.backend.register({ ...account, deviceName: phone.name })
  await tablet.backend.login({ ...account, deviceName: tablet.name })
  const both = document.getElementById('sync-both')
  both.addEventListener('click', async () => {
    for (const device of [phone, tablet]) await device.sync()
  })
  both.hidden = false
  showShare([phone, tablet], tables)
  showJoin(account, phones)
  await showAccount(document.getElementById('account'), phone, account.email, explain)
  say(`Signed in as ${account.email}, on both.`)
}

start().catch((error) => {
  const gone = 'This link leads to no account of this server any more. Scan the code of a page that is open.'
  say(error.code === 'invalid_credentials' ? gone : explain(error), true)
})
