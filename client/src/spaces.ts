/** Rows shared between users: spaces, their members and invitations. */

import type { components } from './api.js'
import type { Backend } from './backend.js'
import { BackendError } from './backend.js'

type Schemas = components['schemas']
export type Space = Schemas['Space']
export type Member = Schemas['Member']
export type Invitation = Schemas['Invitation']
export type MyInvitation = Schemas['MyInvitation']
export type Role = Space['role']

export interface Spaces {
  /** The spaces that the user is in; everybody's personal one is not among them. */
  list(): Promise<Space[]>
  /** Make a space. Its `id` is the `space_id` of the records that it is to have. */
  create(name: string): Promise<Space>
  rename(spaceId: string, name: string): Promise<Space>
  /** Delete a space: its records leave every member's devices. */
  delete(spaceId: string): Promise<void>
  members(spaceId: string): Promise<Member[]>
  setRole(spaceId: string, userId: string, role: Role): Promise<Member>
  /** Remove a member: the records leave that member's devices. */
  remove(spaceId: string, userId: string): Promise<void>
  /** Leave a space: its records leave this user's devices. */
  leave(spaceId: string): Promise<void>
  /** Invite an address, whether or not it has an account. */
  invite(spaceId: string, email: string, role: Role): Promise<Invitation>
  /** The open invitations of a space. */
  invitations(spaceId: string): Promise<Invitation[]>
  withdraw(spaceId: string, invitationId: string): Promise<void>
  /** The open invitations for the user's address. */
  myInvitations(): Promise<MyInvitation[]>
  /** Become a member: the records come with the next sync. */
  accept(invitationId: string): Promise<Space>
  decline(invitationId: string): Promise<void>
}

/** Return the calls of spaces. They throw `AccountChanged` while the database is another account's. */
export function spaces(backend: Backend): Spaces {
  const call = <T>(method: string, path: string, body?: unknown) =>
    backend.request<T>(path, { method, body, asOwner: true })
  const space = (id: string) => `/spaces/${encodeURIComponent(id)}`
  const member = (id: string, userId: string) => `${space(id)}/members/${encodeURIComponent(userId)}`
  const invitation = (id: string) => `/spaces/invitations/${encodeURIComponent(id)}`

  const remove = (id: string, userId: string) => call<void>('DELETE', member(id, userId))

  return {
    list: async () => (await call<Schemas['Spaces']>('GET', '/spaces')).spaces,
    create: (name) => call('POST', '/spaces', { name }),
    rename: (id, name) => call('PATCH', space(id), { name }),
    delete: (id) => call('DELETE', space(id)),

    members: async (id) => (await call<Schemas['Members']>('GET', `${space(id)}/members`)).members,
    setRole: (id, userId, role) => call('PATCH', member(id, userId), { role }),
    remove,

    async leave(id) {
      const session = await backend.session()
      if (!session) throw new BackendError(401, { code: 'unauthorized', detail: 'Nobody is logged in.' })
      await remove(id, session.userId)
    },

    invite: (id, email, role) => call('POST', `${space(id)}/invitations`, { email, role }),

    async invitations(id) {
      return (await call<Schemas['Invitations']>('GET', `${space(id)}/invitations`)).invitations
    },

    withdraw: (id, invitationId) =>
      call('DELETE', `${space(id)}/invitations/${encodeURIComponent(invitationId)}`),

    async myInvitations() {
      return (await call<Schemas['MyInvitations']>('GET', '/spaces/invitations')).invitations
    },

    accept: (id) => call('POST', `${invitation(id)}/accept`),
    decline: (id) => call('POST', `${invitation(id)}/decline`),
  }
}
