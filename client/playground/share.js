// A second user: a device of their own, an invitation, and edits that come by themselves from then on.

import { spaces } from '../src/spaces'
import { titleColumn } from './device'
import { h } from './elements'

/** The column by which the records of a table name their space, if they do. */
export const spaceColumn = ({ columns }) => columns.find(({ isSpace }) => isSpace)

/**
 * Let another user into a space of the owner's, with a project there.
 *
 * `add` makes the guest's device, `hosts` are those of the owner; from now on they all listen. `tell` says
 * what failed later.
 */
export async function share(owner, hosts, add, account, tell) {
  const guest = add('Guest')
  await guest.backend.register({ ...account, deviceName: guest.name })
  await verifyEmail(guest, account.email)
  const space = await spaces(owner.backend).create('Our space')
  await spaces(owner.backend).invite(space.id, account.email, 'writer')
  await createShared(owner, space)
  for (const device of hosts) device.spaces = [space]
  for (const device of [...hosts, guest]) device.listen()
  await owner.sync()
  const [invitation] = await spaces(guest.backend).myInvitations()
  const accept = h('button', { className: 'main', click: () => join().catch(tell) }, 'Accept')
  const place = h('p', {}, `An invitation to “${space.name}”. `, accept)
  guest.card.querySelector('.clock').before(place)
  accept.focus()

  async function join() {
    guest.spaces = [await spaces(guest.backend).accept(invitation.id)]
    place.remove()
    guest.card.querySelector('.sync').focus()
    await guest.sync()
  }
}

/** Verify an address with the code of the mail that the server shows, where it sends any. */
async function verifyEmail({ backend }, email) {
  if (!(await backend.methods()).mail) return
  const mails = await (await fetch('mail/messages.json')).json()
  const { text } = mails.find(({ to }) => to === email)
  await backend.verifyEmail({ email, code: /^[0-9A-Z]{11,}$/m.exec(text)[0] })
}

function createShared({ database, tables }, space) {
  const table = tables.find(spaceColumn)
  const title = titleColumn(table.columns)
  return database.write(() =>
    database.get(table.name).create((record) => {
      if (title) record._setRaw(title.name, `Of ${space.name.toLowerCase()}`)
      record._setRaw(spaceColumn(table).name, space.id)
    }),
  )
}
