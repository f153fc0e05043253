// The package of client/ syncs by itself, with a real WatermelonDB, and says how that stands.

import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { afterEach, test } from 'node:test'

import {
  answers,
  autoSync,
  calls,
  code,
  device,
  json,
  nothing,
  paths,
  problem,
  pulled,
  server,
  until,
} from './backend.mjs'

const running = []
afterEach(() => running.splice(0).forEach((auto) => auto.stop()))

function start(backend, options) {
  const auto = autoSync(backend, options)
  running.push(auto)
  return auto
}

const pushes = () => calls.filter(({ path }) => path === '/sync/push')
const synced = ({ status, lastSyncedAt }) => status === 'idle' && lastSyncedAt !== null
const still = ({ status, pending }) => status === 'idle' && pending === 0

/** An `auto` of ann that has synced once, and nothing to do. */
async function settled(options, autoOptions) {
  const ann = device(options)
  await ann.login('ann')
  const auto = start(ann.backend, autoOptions)
  await until(auto, synced)
  calls.length = 0
  return { ...ann, auto }
}

/** Resolve with the next call of a path. */
const called = (path) =>
  new Promise((resolve) => {
    answers[path] = [
      (call) => {
        resolve(call)
        return path === '/sync/pull' ? pulled() : json({ timestamp: 2000, upToDate: true })
      },
    ]
  })

/** Check that an `auto` begins no sync while another device pushes twice, which takes more than two seconds. */
async function syncsNoMore(auto, later) {
  const statuses = []
  auto.subscribe(() => statuses.push(auto.state().status))
  for (const id of ['c', 'd']) {
    const pushed = called('/sync/push')
    await later.create('projects', id)
    await pushed
    await until(later.auto, still)
  }
  assert.ok(!statuses.includes('syncing'))
}

test('it syncs at the start and at a login, and never with nobody signed in', async () => {
  const { backend, login } = device()
  const auto = start(backend, { migrationsEnabledAtVersion: 1 })
  await until(auto, ({ session }) => session === null)
  assert.deepEqual(calls, [])
  await login('ann')
  await until(auto, synced)
  assert.deepEqual(auto.state().session, { userId: 'ann', ownsDatabase: true })
  auto.stop()
  const next = start(backend)
  assert.equal(next.state().session, undefined)
  await called('/sync/pull')
  await until(next, ({ status }) => status === 'idle')
})

test('writes are pushed together, two seconds after the first', async () => {
  const { auto, create } = await settled()
  const pushed = called('/sync/push')
  const began = Date.now()
  await create('projects', 'a')
  await until(auto, ({ pending }) => pending === 1)
  await create('projects', 'b')
  const { at, body } = await pushed
  assert.ok(at - began >= 2000)
  assert.deepEqual(body.changes.projects.created.map(({ id }) => id).sort(), ['a', 'b'])
  await until(auto, still)
  assert.deepEqual(paths(), ['/sync/pull', '/sync/push'])
})

test('what a sync itself writes is no reason for another', async () => {
  const later = await settled()
  const { auto, create } = await settled()
  const rows = { projects: { ...nothing(), created: [{ id: 'a', name: '' }] } }
  answers['/sync/pull'] = [() => pulled(rows)]
  await create('projects', 'b')
  await auto.sync()
  await until(auto, still)
  await syncsNoMore(auto, later)
})

test('a write during a sync is pushed by the next', async () => {
  const { auto, create } = await settled()
  answers['/sync/push'] = [
    async () => {
      await create('projects', 'late')
      return json({ timestamp: 2000, upToDate: true })
    },
  ]
  await create('projects', 'early')
  await auto.sync()
  await until(auto, ({ pending }) => pending === 1)
  const { body } = await called('/sync/push')
  assert.deepEqual(body.changes.projects.created.map(({ id }) => id), ['late'])
})

test('a deletion is pending, and what only the app has is not', async () => {
  const { auto, create, database } = await settled({ localTables: ['tasks'] })
  await create('projects', 'p')
  await auto.sync()
  await until(auto, still)
  await create('tasks', 't')
  await database.write(async () => (await database.get('projects').find('p')).markAsDeleted())
  await until(auto, ({ pending }) => pending === 1)
})

test('it syncs in the foreground and when the phone is connected again', async () => {
  const phone = new EventEmitter()
  const appState = {
    addEventListener(type, listener) {
      phone.on(type, listener)
      return { remove: () => phone.off(type, listener) }
    },
  }
  const netInfo = {
    addEventListener(listener) {
      phone.on('net', listener)
      return () => phone.off('net', listener)
    },
  }
  const { auto } = await settled({}, { appState, netInfo })
  const tell = (type, said) => {
    const pulled = called('/sync/pull')
    phone.emit(type, said)
    return pulled.then(() => until(auto, ({ status }) => status === 'idle'))
  }
  phone.emit('change', 'background')
  phone.emit('net', { isConnected: true })
  await tell('change', 'active')
  phone.emit('net', { isConnected: false })
  await tell('net', { isConnected: true })
  assert.equal(calls.length, 2)
  auto.stop()
  assert.deepEqual(phone.eventNames(), [])
})

test('it syncs when a page is looked at again and when the browser is connected again', async (t) => {
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  globalThis.window = new EventTarget()
  t.after(() => {
    delete globalThis.document
    delete globalThis.window
  })
  const { auto } = await settled()
  for (const [target, type] of [[document, 'visibilitychange'], [window, 'online']]) {
    const pulled = called('/sync/pull')
    target.dispatchEvent(new Event(type))
    await pulled
    await until(auto, ({ status }) => status === 'idle')
  }
  document.visibilityState = 'hidden'
  document.dispatchEvent(new Event('visibilitychange'))
  assert.equal(auto.state().status, 'idle')
})

test('offline it says so, and tries again by itself', async () => {
  const { auto, create } = await settled()
  const { port } = server.address()
  server.closeAllConnections()
  server.close()
  await create('projects', 'p')
  await assert.rejects(auto.sync(), code('network'))
  const { status, error, pending } = auto.state()
  assert.deepEqual([status, error.code, pending], ['offline', 'network', 1])
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  await until(auto, still)
  assert.equal(auto.state().error, null)
  assert.equal(pushes().length, 1)
})

test('what the backend refuses is an error, and no reason to ask again', async () => {
  const { auto, login } = await settled()
  answers['/sync/pull'] = [() => problem(400, 'invalid_parameter')]
  await assert.rejects(auto.sync(), code('invalid_parameter'))
  assert.deepEqual([auto.state().status, auto.state().error.code], ['failed', 'invalid_parameter'])
  await auto.sync()
  await login('bob')
  await until(auto, ({ error }) => error?.code === 'account_changed')
})

test('a backend that asks for months is asked again within the hour, and not at once', async (t) => {
  const { auto } = await settled()
  const waits = []
  const { setTimeout } = globalThis
  t.mock.method(globalThis, 'setTimeout', (run, ms, ...rest) => {
    waits.push(ms)
    return setTimeout(run, ms, ...rest)
  })
  answers['/sync/pull'] = [() => problem(503, 'unavailable', { 'Retry-After': '31536000' })]
  await assert.rejects(auto.sync(), code('unavailable'))
  assert.equal(waits.at(-1), 3_600_000)
})

test('what was stopped syncs no more, also if it was just about to', async (t) => {
  const { auto, backend, create } = await settled()
  const { setTimeout } = globalThis
  let counted
  const counting = new Promise((begun) =>
    t.mock.method(backend, 'countUnsynced', () => {
      begun()
      return new Promise((resolve) => (counted = resolve))
    }),
  )
  await create('projects', 'p')
  await counting
  auto.stop()
  const waits = t.mock.method(globalThis, 'setTimeout', setTimeout)
  counted(1)
  const starting = start(backend)
  starting.stop()
  await until(starting, ({ session }) => session)
  await new Promise(setImmediate)
  const afterWrite = waits.mock.calls.filter(({ arguments: [, ms] }) => ms === 2000)
  assert.deepEqual(afterWrite, [])
  assert.deepEqual(calls, [])
})

test('after a failure the next write is a reason to try again, and what the sync wrote is none', async () => {
  const { auto, create } = await settled()
  const later = await settled()
  const rows = (id) => ({ projects: { ...nothing(), created: [{ id, name: '' }] } })
  answers['/sync/pull'] = [() => pulled(rows('a'))]
  answers['/sync/push'] = [() => problem(422, 'invalid_request')]
  await create('projects', 'mine')
  await assert.rejects(auto.sync(), code('invalid_request'))
  await syncsNoMore(auto, later)
  const pushed = called('/sync/push')
  await create('projects', 'more')
  const { body } = await pushed
  assert.deepEqual(body.changes.projects.created.map(({ id }) => id).sort(), ['mine', 'more'])
})

test('after a log-out nothing is sent, and the next user syncs after a reset', async () => {
  const { auto, backend, create, database, login } = await settled()
  await backend.logout()
  await create('projects', 'p')
  await until(auto, ({ pending }) => pending === 1)
  assert.equal(auto.state().session, null)
  assert.deepEqual(paths(), ['/auth/logout'])
  await login('bob')
  await until(auto, ({ error }) => error?.hasUnsyncedChanges)
  assert.deepEqual(auto.state().session, { userId: 'bob', ownsDatabase: false })
  await database.write(() => database.unsafeResetDatabase())
  await auto.sync()
  await until(auto, ({ session }) => session.ownsDatabase)
  await until(auto, still)
  const pushed = called('/sync/push')
  await create('projects', 'q')
  assert.deepEqual((await pushed).body.changes.projects.created.map(({ id }) => id), ['q'])
})

test('the time of the last sync outlives the app', async () => {
  const { auto, backend } = await settled()
  auto.stop()
  const { lastSyncedAt } = auto.state()
  answers['/sync/pull'] = [() => problem(400, 'invalid_parameter')]
  const next = start(backend)
  await until(next, ({ status }) => status === 'failed')
  assert.deepEqual(next.state().lastSyncedAt, lastSyncedAt)
})

test('the refusals and repairs of a push are events', async () => {
  const { backend, create, login } = device()
  await login('ann')
  const events = []
  const stop = backend.subscribe((event) => events.push(event))
  answers['/sync/push'] = [
    () =>
      json({
        timestamp: 2000,
        upToDate: false,
        refused: { projects: ['p'] },
        refusedReasons: { projects: { p: 'read_only' } },
        repaired: { tasks: ['t'] },
      }),
  ]
  await create('projects', 'p')
  await create('tasks', 't')
  await backend.sync()
  stop()
  await backend.logout()
  assert.deepEqual(events, [
    { type: 'sync', phase: 'started' },
    { type: 'refused', table: 'projects', id: 'p', reason: 'read_only' },
    { type: 'repaired', table: 'tasks', id: 't' },
    { type: 'sync', phase: 'done' },
  ])
})

test('who signs in and out is told', async () => {
  const { backend, login } = device()
  const events = []
  backend.subscribe((event) => events.push(event))
  await login('ann')
  await backend.logout()
  assert.deepEqual(events, [
    { type: 'session', userId: 'ann' },
    { type: 'session', userId: null },
  ])
})
