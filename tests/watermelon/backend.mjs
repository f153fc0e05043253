// A backend that a test can make misbehave, and devices with a real WatermelonDB and the package of client/.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { afterEach, beforeEach } from 'node:test'

export const { AccountChanged, autoSync, createBackend } = await import(process.env.CLIENT)
const require = createRequire(import.meta.url)
console.log = console.info = console.warn = console.error = () => {}
const { openDatabase } = require('./database')
const app = require('./schema')

/** The calls that came, and what is answered to the next one of a path instead of the usual. */
export let calls, answers, server, url
let databases = 0

const claims = (claims) => Buffer.from(JSON.stringify(claims)).toString('base64url')
let serial = 0
export const tokensOf = (user) => {
  const token = () => `head.${claims({ sub: user, jti: (serial += 1) })}.signature`
  return { accessToken: token(), refreshToken: token() }
}
export const userOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub
export const problem = (status, code, headers = {}) => ({
  status,
  headers: { 'Content-Type': 'application/problem+json', ...headers },
  body: JSON.stringify({ status, code, detail: code }),
})
export const page = (status) => ({ status, headers: { 'Content-Type': 'text/html' }, body: '<p>Hotel' })
export const json = (body, status = 200) => ({ status, headers: {}, body: JSON.stringify(body) })
export const pulled = (changes = {}, more = {}) =>
  json({ changes: { projects: nothing(), tasks: nothing(), ...changes }, timestamp: 1000, ...more })
export const nothing = () => ({ created: [], updated: [], deleted: [] })

const usual = {
  '/auth/login': ({ body }) => json({ ...tokensOf(body.email), user: { id: body.email } }),
  '/auth/refresh': ({ token }) => json(tokensOf(userOf(token))),
  '/auth/logout': () => ({ status: 204, headers: {}, body: '' }),
  '/sync': () => pulled(),
  '/sync/pull': () => pulled(),
  '/sync/push': () => json({ timestamp: 2000, upToDate: true }),
}

beforeEach(async () => {
  calls = []
  answers = {}
  server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const path = request.url.split('?')[0]
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

/** A device; `modelled`: the tables that have a model. */
export function device(options = {}, modelled = ['projects', 'tasks']) {
  const modelClasses = app.modelClasses.filter(({ table }) => modelled.includes(table))
  const database =
    options.database ?? openDatabase(`database ${(databases += 1)}`, { ...app, modelClasses })
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

export const paths = () => calls.map(({ path }) => path)
export const code = (code) => (error) => error.code === code

/** Resolve when `holds` is true of the state, which `auto` tells the changes of. */
export const until = (auto, holds) =>
  new Promise((resolve) => {
    const look = () => {
      if (!holds(auto.state())) return
      stop()
      resolve()
    }
    const stop = auto.subscribe(look)
    look()
  })
