// The package of client/ neither loses nor leaks, with a real WatermelonDB.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { test } from 'node:test'

import {
  AccountChanged,
  answers,
  autoSync,
  calls,
  code,
  device,
  json,
  nothing,
  page,
  paths,
  problem,
  pulled,
  server,
  tokensOf,
  until,
  url,
  userOf,
} from './backend.mjs'

test('the next user is refused before any request leaves, offline too', async () => {
  const { backend, create, login } = device()
  await login('ann')
  await backend.sync()
  await create('projects', 'p')
  await backend.logout()
  await login('bob')
  calls.length = 0
  const refused = (error) =>
    error instanceof AccountChanged && error.code === 'account_changed' && error.hasUnsyncedChanges
  await assert.rejects(backend.sync(), refused)
  const changes = { projects: { ...nothing(), created: [{ id: 'p' }] } }
  await assert.rejects(backend.pushChanges({ changes, lastPulledAt: 1 }), refused)
  await assert.rejects(backend.pullChanges({ lastPulledAt: 1, schemaVersion: 1 }), refused)
  server.close()
  await assert.rejects(backend.sync(), refused)
  assert.deepEqual(calls, [])
})

test('the next user who signs in between pull and push is refused', async () => {
  const { backend, create, login } = device()
  await login('ann')
  await create('projects', 'p')
  answers['/sync/pull'] = [
    async () => {
      await login('bob')
      return pulled()
    },
  ]
  await assert.rejects(backend.sync(), code('account_changed'))
  assert.ok(!paths().includes('/sync/push'))
})

test('the next user who signs in between two pages is refused', async () => {
  const { backend, login } = device()
  await login('ann')
  answers['/sync/pull'] = [
    async () => {
      await login('bob')
      return pulled({}, { cursor: 'more' })
    },
  ]
  await assert.rejects(backend.sync(), code('account_changed'))
  assert.equal(paths().filter((path) => path === '/sync/pull').length, 1)
})

test('the next user who signs in during a refresh is sent no request of the one before', async () => {
  const { backend, kept, login } = device()
  await login('ann')
  answers['/sync/pull'] = [() => problem(401, 'token_expired')]
  answers['/auth/refresh'] = [
    async () => {
      await login('bob')
      return json(tokensOf('ann'))
    },
  ]
  await assert.rejects(backend.sync())
  assert.equal(paths().filter((path) => path === '/sync/pull').length, 1)
  assert.equal(userOf(kept.tokens.accessToken), 'bob')
})

test('of two users whose first pulls overlap, the database is one’s and sends nothing of the other', async () => {
  const ann = device()
  const bob = device({ database: ann.database })
  await ann.login('ann')
  await bob.login('bob')
  answers['/sync/pull'] = [
    async () => {
      await ann.backend.sync()
      await ann.create('projects', 'p')
      return pulled()
    },
  ]
  await assert.rejects(bob.backend.sync(), code('account_changed'))
  await ann.backend.sync()
  const push = calls.find(({ path }) => path === '/sync/push')
  assert.equal(userOf(push.token), 'ann')
  await assert.rejects(bob.backend.sync(), code('account_changed'))
})

test('a reset database takes the next user', async () => {
  const { backend, database, login } = device()
  await login('ann')
  await backend.sync()
  await database.write(() => database.unsafeResetDatabase())
  await login('bob')
  await backend.sync()
  await login('ann')
  await assert.rejects(backend.sync(), (error) => error.hasUnsyncedChanges === false)
})

test('a failed first pull binds nobody; a database synced before is bound without a word', async () => {
  const { backend, database, login } = device()
  await database.localStorage.set('__watermelon_last_pulled_at', 7)
  await login('ann')
  answers['/sync/pull'] = [() => problem(500, 'internal_error')]
  await assert.rejects(backend.sync(), code('internal_error'))
  await login('bob')
  await backend.sync()
  await login('ann')
  await assert.rejects(backend.sync(), code('account_changed'))
})

test('a hung connection ends, and the next sync works', async () => {
  const { backend, login } = device({ timeoutMs: 100 })
  await login('ann')
  answers['/sync/pull'] = Array.from({ length: 3 }, () => () => null)
  await assert.rejects(backend.sync(), code('timeout'))
  await backend.sync()
})

test('an answer that stops in the middle ends, too', async () => {
  const { backend, login } = device({ timeoutMs: 100 })
  await login('ann')
  server.removeAllListeners('request')
  server.on('request', (_, response) => response.writeHead(200).write('{"changes"'))
  await assert.rejects(backend.request('/users/me'), code('timeout'))
})

test('a call ends after ten minutes, whatever the limit for a byte is', async (t) => {
  const { backend, login } = device({ timeoutMs: 60 * 60_000 })
  await login('ann')
  const asked = new Promise((resolve) => {
    answers['/users/me'] = [() => void resolve()]
  })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let ended = false
  const call = assert.rejects(backend.request('/users/me'), code('timeout'))
  call.then(() => (ended = true))
  await asked
  t.mock.timers.tick(10 * 60_000 - 1)
  await new Promise((next) => setImmediate(next))
  assert.ok(!ended)
  t.mock.timers.tick(1)
  await call
})

test('Retry-After is waited for up to a minute, else handed on', async () => {
  const { backend, login } = device()
  await login('ann')
  const soon = new Date(Date.now() + 2000).toUTCString()
  answers['/sync/pull'] = [
    () => problem(429, 'rate_limited', { 'Retry-After': '1' }),
    () => problem(503, 'unavailable', { 'Retry-After': soon }),
  ]
  await backend.sync()
  const [first, second, third] = calls.filter(({ path }) => path === '/sync/pull')
  assert.ok(second.at - first.at >= 1000)
  assert.ok(third.at >= Date.parse(soon))
  answers['/sync/pull'] = [() => problem(503, 'unavailable', { 'Retry-After': '3600' })]
  await assert.rejects(backend.sync(), (error) => error.retryAfter === 3600)
})

test('a date in Retry-After is read by the clock of the server, not of the device', async () => {
  const { backend, login } = device()
  await login('ann')
  const hours = (n) => new Date(Date.parse('2020-01-01') + n * 3_600_000).toUTCString()
  const headers = { Date: hours(0), 'Retry-After': hours(2) }
  answers['/sync/pull'] = [() => problem(503, 'unavailable', headers)]
  await assert.rejects(backend.sync(), (error) => error.retryAfter === 7200)
})

test('no limit is a limit of ten minutes, and not of none', async () => {
  const { backend, login } = device({ timeoutMs: Infinity })
  await login('ann')
  await backend.sync()
})

test('only the word of the backend ends a session', async () => {
  const { backend, kept, login } = device()
  await login('ann')
  const empty = { status: 204, headers: {} }
  const answersOfOthers = [page(401), page(200), page(403), json({ hello: 1 })]
  const like = json({ code: 'unauthorized' }, 401)
  const words = [problem(401, 'x'), problem(503, 'unavailable')]
  for (const answer of [...answersOfOthers, like, empty, ...words]) {
    answers['/users/me'] = [() => problem(401, 'token_expired')]
    answers['/auth/refresh'] = [() => answer]
    await assert.rejects(backend.request('/users/me'))
    assert.equal(kept.signedOut, 0)
    assert.ok(kept.tokens)
  }
  calls.length = 0
  answers['/sync/pull'] = [() => page(401)]
  await assert.rejects(backend.sync(), ({ status }) => status === 401)
  assert.deepEqual(paths(), ['/sync/pull'])
  for (const [status, word] of [
    [401, 'unauthorized'],
    [401, 'token_reused'],
    [403, 'account_disabled'],
  ]) {
    await login('ann')
    kept.signedOut = 0
    answers['/users/me'] = [() => problem(401, 'token_expired')]
    answers['/auth/refresh'] = [() => problem(status, word)]
    await assert.rejects(backend.request('/users/me'), code(word))
    assert.deepEqual([kept.signedOut, kept.tokens], [1, null])
  }
})

test('an answer without a body that should have one is an error that says so', async () => {
  const { backend, create, login } = device()
  await login('ann')
  await create('projects', 'p')
  const empty = { status: 204, headers: {} }
  for (const path of ['/sync/pull', '/sync/push']) {
    answers[path] = [() => empty]
    await assert.rejects(backend.sync(), code('unexpected_answer'))
  }
  answers['/auth/login'] = [() => empty]
  await assert.rejects(login('ann'), code('unexpected_answer'))
  await backend.sync()
  assert.equal(await backend.countUnsynced(), 0)
})

test('tokens that could not be saved are used and saved again', async () => {
  const kept = { tokens: tokensOf('ann') }
  const old = kept.tokens
  let broken = true
  const storage = {
    load: async () => kept.tokens,
    save: async (tokens) => {
      if (broken) throw new Error('the keychain is locked')
      kept.tokens = tokens
    },
  }
  const { backend } = device({ storage })
  answers['/sync/pull'] = [() => problem(401, 'token_expired')]
  await backend.sync()
  assert.equal(kept.tokens, old)
  broken = false
  await backend.sync()
  assert.notEqual(kept.tokens, old)
  assert.equal(paths().filter((path) => path === '/auth/refresh').length, 1)
  assert.equal(calls.at(-1).token, kept.tokens.accessToken)
})

test('a logout while a refresh is under way stays one', async () => {
  const { backend, kept, login } = device()
  await login('ann')
  answers['/users/me'] = [() => problem(401, 'token_expired')]
  answers['/auth/refresh'] = [
    async ({ token }) => {
      await backend.logout()
      return json(tokensOf(userOf(token)))
    },
  ]
  await assert.rejects(backend.request('/users/me'), code('unauthorized'))
  assert.equal(kept.tokens, null)
  assert.equal(kept.signedOut, 0)
})

test('logging out works offline', async () => {
  const { backend, kept, login } = device()
  await login('ann')
  server.closeAllConnections()
  server.close()
  await backend.logout()
  assert.equal(kept.tokens, null)
})

test('logging out waits five seconds for a network that passes nothing on', async (t) => {
  const { backend, kept, login } = device()
  await login('ann')
  const asked = new Promise((resolve) => {
    answers['/auth/logout'] = [() => void resolve()]
  })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const loggedOut = backend.logout()
  await asked
  assert.equal(kept.tokens, null)
  t.mock.timers.tick(5000)
  await loggedOut
})

test('a sync that is asked for during one runs once more after it', async () => {
  const { backend, create, login } = device()
  await login('ann')
  let more
  answers['/sync/push'] = [
    async () => {
      await create('projects', 'late')
      more = [backend.sync(), backend.sync()]
      return json({ timestamp: 2000, upToDate: true })
    },
  ]
  await create('projects', 'early')
  await backend.sync()
  await Promise.all(more)
  const pushes = calls.filter(({ path }) => path === '/sync/push')
  assert.deepEqual(
    pushes.map(({ body }) => body.changes.projects.created.map(({ id }) => id)),
    [['early'], ['late']],
  )
  assert.equal(paths().filter((path) => path === '/sync/pull').length, 2)
})

test('parts of no record are refused when the backend is made', () => {
  for (const maxPushRecords of [0, -1, NaN]) assert.throws(() => device({ maxPushRecords }), RangeError)
})

test('a push goes in parts: parents first, deletions last, no id twice', async () => {
  const seen = []
  const { backend, login } = device({ maxPushRecords: 4, onPushed: (result) => seen.push(result) })
  await login('ann')
  const tasks = [1, 2, 3, 4].map((n) => ({ id: `t${n}`, project_id: `p${n % 2}` }))
  const changes = {
    tasks: { created: tasks, updated: [], deleted: ['gone'] },
    projects: { created: [{ id: 'p1' }], updated: [{ id: 'p0' }], deleted: ['old'] },
  }
  answers['/sync/push'] = [() => problem(413, 'too_large')]
  await backend.pushChanges({ changes, lastPulledAt: 5 })
  const parts = calls.filter(({ path }) => path === '/sync/push').slice(1)
  assert.deepEqual(new Set(parts.map(({ body }) => body.lastPulledAt)), new Set([5]))
  const order = parts.map(({ body }) =>
    Object.values(body.changes).flatMap((c) => [
      ...[...c.created, ...c.updated].map(({ id }) => id),
      ...c.deleted.map((id) => `-${id}`),
    ]),
  )
  assert.deepEqual(order.map((part) => part.length), [2, 2, 4])
  const flat = order.flat()
  assert.equal(new Set(flat).size, 8)
  for (const { id, project_id } of tasks) assert.ok(flat.indexOf(project_id) <= flat.indexOf(id))
  assert.deepEqual(flat.slice(-2).sort(), ['-gone', '-old'])
  assert.equal(seen.length, 3)
})

test('parents go first by their ids where no model says what it belongs to', async () => {
  const { database } = device()
  const models = Object.values(database.collections.map).map(({ modelClass }) => modelClass)
  const said = models.map((model) => model.associations)
  for (const model of models) model.associations = {}
  try {
    const { backend, login } = device({ maxPushRecords: 1 })
    await login('ann')
    const tasks = { ...nothing(), created: [{ id: 't', title: 't', project_id: 'p' }] }
    const projects = { ...nothing(), created: [{ id: 'p', name: 'p' }] }
    await backend.pushChanges({ changes: { tasks, projects }, lastPulledAt: 5 })
  } finally {
    models.forEach((model, n) => (model.associations = said[n]))
  }
  const parts = calls.filter(({ path }) => path === '/sync/push')
  assert.deepEqual(parts.flatMap(({ body }) => Object.keys(body.changes)), ['projects', 'tasks'])
})

test('a table without a model is in nobody’s way', async () => {
  const { backend, create, database, login } = device({}, ['projects'])
  await login('ann')
  await create('projects', 'p')
  assert.deepEqual([backend.tables, await backend.countUnsynced()], [['projects'], 1])
  const auto = autoSync(backend)
  await until(auto, ({ status, lastSyncedAt }) => status === 'idle' && lastSyncedAt)
  auto.stop()
  assert.equal(await backend.countUnsynced(), 0)
  await create('projects', 'q')
  await login('bob')
  await assert.rejects(backend.sync(), (error) => error.hasUnsyncedChanges)
  assert.equal(database.get('tasks'), null)
})

test('a record that is too large by itself is an error', async () => {
  const { backend, create, login } = device()
  await login('ann')
  await create('projects', 'p')
  answers['/sync/push'] = [() => problem(413, 'too_large')]
  await assert.rejects(backend.sync(), code('too_large'))
})

test('local tables are never pushed and never unsynced', async () => {
  const { backend, create, login } = device({ localTables: ['tasks'] })
  await login('ann')
  await create('tasks', 't')
  await backend.sync()
  assert.ok(!paths().includes('/sync/push'))
  await create('tasks', 'u')
  await create('projects', 'p')
  await backend.sync()
  assert.deepEqual(Object.keys(calls.at(-1).body.changes), ['projects'])
  await create('tasks', 'v')
  await login('bob')
  await assert.rejects(backend.sync(), (error) => error.hasUnsyncedChanges === false)
})

test('pages are joined, their progress is told, and a replacement stays one', async () => {
  const told = []
  const { backend, database, login } = device({ onProgress: (progress) => told.push(progress) })
  await login('ann')
  const old = { ...nothing(), created: [{ id: 'old', name: '' }] }
  answers['/sync/pull'] = [() => pulled({ projects: old })]
  await backend.sync()
  told.length = 0
  const rows = (id) => ({ projects: { ...nothing(), updated: [{ id, name: id }] } })
  answers['/sync/pull'] = [
    () => pulled(rows('a'), { cursor: 'next', experimentalStrategy: 'replacement' }),
    () => pulled(rows('b')),
  ]
  await backend.sync()
  assert.deepEqual(told.map(({ records }) => records), [1, 2])
  const projects = await database.get('projects').query().fetch()
  assert.deepEqual(projects.map(({ id }) => id).sort(), ['a', 'b'])
})

test('an id that comes again on a later page is what that page says', async () => {
  const { backend, login } = device()
  await login('ann')
  const page = (buckets) => ({ tasks: { ...nothing(), ...buckets } })
  const rows = (title, ...ids) => ids.map((id) => ({ id, title }))
  answers['/sync/pull'] = [
    () => pulled(page({ created: rows('old', 'a', 'b'), updated: rows('old', 'c', 'd') }), { cursor: '2' }),
    () => pulled(page({ updated: rows('new', 'a'), deleted: ['c', 'e'] }), { cursor: '3' }),
    () => pulled(page({ created: rows('new', 'e') })),
  ]
  const { changes } = await backend.pullChanges({ lastPulledAt: 1, schemaVersion: 1, migration: null })
  assert.deepEqual(changes.tasks, {
    created: [...rows('old', 'b'), ...rows('new', 'e')],
    updated: [...rows('old', 'd'), ...rows('new', 'a')],
    deleted: ['c'],
  })
})

test('a database of another backend is pushed as a whole, as docs/coming-from.md says', async () => {
  const page = await readFile(new URL('../../docs/coming-from.md', import.meta.url), 'utf8')
  const [, source] = page.match(/```ts\n( *async function forgetOldBackend.*?)```/s)
  const forgetOldBackend = new Function(`return ${source}`)()
  const { backend, create, database, login } = device()
  await login('there')
  await create('projects', 'p', { name: 'Garden' })
  await create('tasks', 't', { title: 'Water', project_id: 'p' })
  await backend.sync()
  await database.localStorage.remove('watermelondb_backend_user')
  calls.length = 0
  await forgetOldBackend(database)
  await login('here')
  await backend.sync()
  const [pull, push] = calls.filter(({ path }) => path.startsWith('/sync'))
  assert.equal(pull.body.lastPulledAt, null)
  const { projects, tasks } = push.body.changes
  assert.deepEqual([projects.updated, tasks.updated], [[], []])
  assert.deepEqual([projects.created[0].id, projects.created[0].name], ['p', 'Garden'])
  assert.deepEqual([tasks.created[0].id, tasks.created[0].title], ['t', 'Water'])
})

test("README's snippet lets go of what was deleted while the device was away", async () => {
  process.env.BACKEND = url
  const { mySync } = createRequire(import.meta.url)('./snippet')
  const { database } = device()
  const record = (id) => ({ projects: { ...nothing(), created: [{ id, name: id }] } })
  answers['/sync'] = [() => pulled(record('old'))]
  await mySync(database, 'token')
  answers['/sync'] = [() => pulled(record('new'), { experimentalStrategy: 'replacement' })]
  await mySync(database, 'token')
  const left = await database.get('projects').query().fetch()
  assert.deepEqual(left.map(({ id }) => id), ['new'])
})

test('a sign-in with an ID token begins a session like a login', async () => {
  const { backend, kept } = device()
  const token = { provider: 'google', idToken: 'head.body.signature', nonce: 'n', name: 'Ann' }
  answers['/auth/oidc'] = [() => json({ ...tokensOf('ann'), user: { id: 'ann' } }, 201)]
  assert.equal((await backend.signIn(token)).id, 'ann')
  assert.deepEqual(calls.map(({ path, body }) => [path, body]), [['/auth/oidc', token]])
  assert.equal(userOf(kept.tokens.accessToken), 'ann')
  await backend.sync()
  await backend.logout()
  answers['/auth/oidc'] = [() => json({ ...tokensOf('bob'), user: { id: 'bob' } })]
  await backend.signIn(token)
  await assert.rejects(backend.sync(), code('account_changed'))
})

test('a refused ID token signs nobody out', async () => {
  const { backend, kept, login } = device()
  await login('ann')
  answers['/auth/oidc'] = [() => problem(401, 'invalid_id_token')]
  const token = { provider: 'google', idToken: 'x' }
  await assert.rejects(backend.signIn(token), code('invalid_id_token'))
  answers['/users/me/identities'] = [() => problem(403, 'invalid_id_token')]
  await assert.rejects(backend.linkIdentity(token), code('invalid_id_token'))
  assert.equal(userOf(kept.tokens.accessToken), 'ann')
  assert.equal(kept.signedOut, 0)
})

test('a forgotten password and a verified e-mail need no session, and begin none', async () => {
  const { backend, kept } = device()
  const done = (status) => () => ({ status, headers: {}, body: '' })
  answers['/auth/password/forgot'] = [done(202)]
  answers['/auth/password/reset'] = [done(204), () => problem(403, 'invalid_code')]
  answers['/auth/email/verify'] = [done(204)]
  answers['/auth/methods'] = [() => json({ password: true, mail: true, providers: [] })]
  const proof = { email: 'ann', code: 'K7F3 Q2MX 9TBW' }
  assert.deepEqual((await backend.methods()).providers, [])
  await backend.forgotPassword('ann')
  await backend.resetPassword({ ...proof, newPassword: 'new' })
  await assert.rejects(backend.resetPassword({ ...proof, newPassword: 'new' }), code('invalid_code'))
  await backend.verifyEmail(proof)
  assert.deepEqual(
    calls.slice(1).map(({ body }) => body),
    [{ email: 'ann' }, { ...proof, newPassword: 'new' }, { ...proof, newPassword: 'new' }, proof],
  )
  assert.equal(kept.tokens, null)
  await assert.rejects(backend.sendVerificationCode(), code('unauthorized'))
})

test('providers of an account are listed, linked and unlinked with the session', async () => {
  const { backend, login } = device()
  await login('ann')
  const google = { provider: 'google', email: 'ann', createdAt: '2026-11-26T04:33:09.076Z' }
  answers['/auth/email/send-code'] = [() => ({ status: 202, headers: {}, body: '' })]
  answers['/users/me/identities'] = [() => json({ identities: [google] }), () => json(google, 201)]
  answers['/users/me/identities/google'] = [() => ({ status: 204, headers: {}, body: '' })]
  await backend.sendVerificationCode()
  assert.deepEqual(await backend.identities(), [google])
  assert.deepEqual(await backend.linkIdentity({ provider: 'google', idToken: 'x' }), google)
  await backend.unlinkIdentity('google')
  assert.ok(calls.slice(1).every(({ token }) => userOf(token) === 'ann'))
})
