// The hooks of client/ in a real React.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { act, createElement } from 'react'

import { answers, autoSync, device, problem, until } from './backend.mjs'

const { BackendProvider, useSession, useSync } = await import(process.env.CLIENT_REACT)
const { create } = createRequire(import.meta.url)('react-test-renderer')
globalThis.IS_REACT_ACT_ENVIRONMENT = true

/** What the hooks said last, of a component below `auto`. */
function render(auto) {
  const said = {}
  function Screen() {
    Object.assign(said, { session: useSession(), sync: useSync() })
    return null
  }
  act(() => {
    said.root = create(createElement(BackendProvider, { autoSync: auto }, createElement(Screen)))
  })
  return said
}

test('a screen sees the session and the sync as they change', async () => {
  const { backend, create, kept } = device()
  const auto = autoSync(backend)
  const screen = render(auto)
  assert.equal(screen.session.status, 'loading')
  await act(() => until(auto, ({ session }) => session === null))
  assert.equal(screen.session.status, 'signed_out')

  await act(async () => {
    await screen.session.login({ email: 'ann', password: 'secret' })
    await until(auto, ({ lastSyncedAt }) => lastSyncedAt)
  })
  assert.deepEqual([screen.session.status, screen.session.userId], ['signed_in', 'ann'])
  assert.equal(screen.sync.status, 'idle')
  assert.ok(screen.sync.lastSyncedAt instanceof Date)

  await act(async () => {
    await create('projects', 'p')
    await until(auto, ({ pending }) => pending === 1)
  })
  assert.equal(screen.sync.pending, 1)
  answers['/sync/pull'] = [() => problem(400, 'invalid_parameter')]
  await act(() => assert.rejects(screen.sync.sync()))
  assert.deepEqual([screen.sync.status, screen.sync.error.code], ['failed', 'invalid_parameter'])
  await act(async () => {
    await screen.sync.sync()
    await until(auto, ({ pending }) => pending === 0)
  })
  assert.deepEqual([screen.sync.status, screen.sync.error, screen.sync.pending], ['idle', null, 0])

  await act(() => screen.session.logout())
  assert.deepEqual([screen.session.status, screen.session.userId], ['signed_out', null])
  assert.equal(kept.tokens, null)
  act(() => screen.root.unmount())
  auto.stop()
})

test('the next user sees nothing of the one before', async () => {
  const { backend, database, login } = device()
  const auto = autoSync(backend)
  await login('ann')
  await until(auto, ({ lastSyncedAt }) => lastSyncedAt)
  const screen = render(auto)
  await act(async () => {
    await screen.session.login({ email: 'bob', password: 'secret' })
    await until(auto, ({ error }) => error)
  })
  assert.deepEqual([screen.session.status, screen.session.userId], ['account_changed', 'bob'])
  await act(async () => {
    await database.write(() => database.unsafeResetDatabase())
    await screen.sync.sync()
    await until(auto, ({ session }) => session.ownsDatabase)
  })
  assert.equal(screen.session.status, 'signed_in')
  act(() => screen.root.unmount())
  auto.stop()
})

test('a screen goes over to another database', async () => {
  const [ann, bob] = [device(), device()]
  const autos = [autoSync(ann.backend), autoSync(bob.backend)]
  await ann.login('ann')
  await bob.login('bob')
  const screen = render(autos[0])
  await act(() => until(autos[0], ({ session }) => session))
  assert.equal(screen.session.userId, 'ann')
  const users = []
  function Screen() {
    users.push(useSession().userId)
    return null
  }
  await act(() => until(autos[1], ({ session }) => session))
  act(() => {
    screen.root.update(createElement(BackendProvider, { autoSync: autos[1] }, createElement(Screen)))
  })
  assert.equal(users.at(-1), 'bob')
  act(() => screen.root.unmount())
  autos.forEach((auto) => auto.stop())
})

test('a hook outside of a provider says what is missing', () => {
  assert.throws(() => act(() => create(createElement(() => useSync()))), /BackendProvider/)
})
