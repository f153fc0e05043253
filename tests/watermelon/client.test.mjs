// The package of client/ with a real WatermelonDB, against a backend that a test can make misbehave.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { afterEach, beforeEach, test } from 'node:test'

const { AccountChanged, createBackend } = await import(process.env.CLIENT)
const require = createRequire(import.meta.url)
console.log = console.info = console.warn = console.error = () => {}
const { openDatabase } = require('./database')
const app = require('./schema')

/** The calls that came, and what is answered to the next one of a path instead of the usual. */
let calls, answers, server, url
let databases = 0

const claims = (claims) => Buffer.from(JSON.stringify(claims)).toString('base64url')
let serial = 0
const tokensOf = (user) => {
  const token = () => `head.${claims({ sub: user, jti: (serial += 1) })}.signature`
  return { accessToken: token(), refreshToken: token() }
}
const userOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub
const problem = (status, code, headers = {}) => ({
  status,
  headers: { 'Content-Type': 'application/problem+json', ...headers },
  body: JSON.stringify({ status, code, detail: code }),
})
const page = (status) => ({ status, headers: { 'Content-Type': 'text/html' }, body: '<p>Hotel' })
const json = (body, status = 200) => ({ status, headers: {}, body: JSON.stringify(body) })
const pulled = (changes = {}, more = {}) =>
  json({ changes: { projects: nothing(), tasks: nothing(), ...changes }, timestamp: 1000, ...more })
const nothing = () => ({ created: [], updated: [], deleted: [] })

const usual = {
  '/auth/login': ({ body }) => json({ ...tokensOf(body.email), user: { id: body.email } }),
  '/auth/refresh': ({ token }) => json(tokensOf(userOf(token))),
  '/auth/logout': () => ({ status: 204, headers: {}, body: '' }),
  '/sync/pull': () => pulled(),
  '/sync/push': () => json({ timestamp: 2000, upToDate: true }),
}

beforeEach(async () => {
  calls = []
  answers = {}
  server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const path = request.url
    const token = request.headers.authorization?.replace('Bearer ', '')
    const call = { path, token, body: text && JSON.parse(text), at: Date.now() }
    calls.push(call)
    const answer = await (answers[path]?.shift() ?? usual[path])(call)
    if (!answer) return
    response.writeHead(answer.status, answer.headers).end(answer.body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${server.address().port}`
})

afterEach(() => {
  server.closeAllConnections()
  server.close()
})

function device(options = {}) {
  const database = openDatabase(`database ${(databases += 1)}`, app)
  const kept = { tokens: null, signedOut: 0 }
  const backend = createBackend({
    url,
    database,
    storage: {
      load: async () => kept.tokens,
      save: async (tokens) => {
        kept.tokens = tokens
      },
    },
    onSignedOut: () => {
      kept.signedOut += 1
    },
    ...options,
  })
  const create = (table, id, values = {}) =>
    database.write(() =>
      database.get(table).create((record) => {
        record._raw.id = id
        for (const [column, value] of Object.entries(values)) record._setRaw(column, value)
      }),
    )
  return { backend, database, kept, create, login: (email) => backend.login({ email }) }
}

const paths = () => calls.map(({ path }) => path)
const code = (code) => (error) => error.code === code

test('the next user is refused before any request leaves, offline too', async () => {
  const { backend, create, login } = device()
  await login('ann')
  await backend.sync()
  await create('projects', 'p')
  await backend.logout()
  await login('bob')
  calls = []
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

test('only the word of the backend ends a session', async () => {
  const { backend, kept, login } = device()
  await login('ann')
  const answersOfOthers = [page(401), page(200), page(403), json({ hello: 1 }), problem(401, 'x')]
  for (const answer of [...answersOfOthers, problem(503, 'unavailable')]) {
    answers['/users/me'] = [() => problem(401, 'token_expired')]
    answers['/auth/refresh'] = [() => answer]
    await assert.rejects(backend.request('/users/me'))
    assert.equal(kept.signedOut, 0)
    assert.ok(kept.tokens)
  }
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
