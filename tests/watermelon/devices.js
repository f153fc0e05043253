// Real WatermelonDB devices, told what to do by JSON lines on standard input:
// {"device": name, "call": name, "args": [...]} is answered by {"result": …} or {"error": message}.

const readline = require('node:readline')
const { LokiMemoryAdapter } = require('lokijs')

// What WatermelonDB says while it works. An error of its own about sync is a finding.
const diagnostics = []
for (const level of ['error', 'warn']) {
  console[level] = (...words) => diagnostics.push(words.map(String).join(' '))
}
console.log = console.info = console.debug = () => {}

const { Q } = require('@nozbe/watermelondb')
const { hasUnsyncedChanges } = require('@nozbe/watermelondb/sync')
const { openDatabase } = require('./database')
const app = require(process.env.APP)
const { mySync } = require('./snippet')

const devices = new Map()

// The network: what becomes of the next requests, and what has gone over it.
// ok | drop (never sent) | lose (the answer is lost) | twice | slow
let weather = []
let traffic = []
const realFetch = globalThis.fetch
globalThis.fetch = async (url, options) => {
  const fate = weather.shift() || 'ok'
  if (fate === 'drop') throw new TypeError('fetch failed')
  if (fate === 'slow') await new Promise((resolve) => setTimeout(resolve, 20))
  if (fate === 'twice') await (await realFetch(url, options)).arrayBuffer()
  const response = await realFetch(url, options)
  const text = await response.text()
  traffic.push([new URL(url).pathname, response.status, text])
  if (fate === 'lose') throw new TypeError('fetch failed')
  return new Response(response.status === 204 ? null : text, response)
}

// The sockets of live nudges that are open now.
const sockets = new Set()
const RealWebSocket = globalThis.WebSocket
globalThis.WebSocket = class extends RealWebSocket {
  constructor(url) {
    super(url)
    this.addEventListener('open', () => sockets.add(this))
    this.addEventListener('close', () => sockets.delete(this))
  }
}

/** Resolve when `holds`, which is asked again and again. */
async function until(holds) {
  // Longer than a device waits before it comes back to a server that was away.
  const end = Date.now() + 120_000
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it never holds: ${holds}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

class Device {
  constructor(name) {
    this.name = name
    this.database = openDatabase(name, app)
    this.appStates = new Set()
    this.refused = []
  }

  /** Begin with the app's older version. */
  useOlder() {
    this.storage = new LokiMemoryAdapter()
    this.database = openDatabase(this.name, app.older, this.storage)
  }

  /** Start again as the app's present version, which migrates the database. */
  async upgrade() {
    const { _driver: driver } = this.database.adapter.underlyingAdapter
    await new Promise((done) => driver.loki.saveDatabase(done))
    this.database = openDatabase(this.name, app, this.storage)
    await this.database.adapter.initializingPromise
  }

  signIn(token) {
    this.token = token
  }

  /** From now on with the package of client/, and these tokens. */
  async useBackend(tokens, pageSize, maxPushRecords) {
    const { createBackend } = await import(process.env.CLIENT)
    this.tokens = tokens
    this.signedOut = 0
    this.backend = createBackend({
      url: process.env.BACKEND,
      database: this.database,
      storage: {
        load: async () => this.tokens,
        save: async (saved) => {
          this.tokens = saved
        },
      },
      onSignedOut: () => {
        this.signedOut += 1
      },
      pageSize,
      maxPushRecords,
    })
    this.backend.subscribe((event) => {
      if (event.type === 'refused') this.refused.push(event)
    })
  }

  /** Make one of the calls of spaces. */
  async spaces(call, ...args) {
    const { spaces } = await import(process.env.CLIENT)
    return spaces(this.backend)[call](...args)
  }

  takeRefused() {
    return this.refused.splice(0)
  }

  /** Sync at each nudge from now on. */
  async live() {
    const { live } = await import(process.env.CLIENT)
    const appState = {
      addEventListener: (_, listener) => {
        this.appStates.add(listener)
        return { remove: () => this.appStates.delete(listener) }
      },
    }
    this.stopLive = live(this.backend, () => this.sync(), { appState })
  }

  unlive() {
    this.stopLive()
  }

  /** `active` or `background`, as the phone says it. */
  go(state) {
    this.appStates.forEach((listener) => listener(state))
  }

  /** Resolve when a record, which comes by a nudge, has a value. */
  async comes(table, id, column, value) {
    const found = this.database.get(table).query(Q.where('id', id), Q.where(column, value))
    await until(async () => (await found.fetchCount()) > 0)
  }

  state() {
    return { tokens: this.tokens, signedOut: this.signedOut }
  }

  /** Resolve when the backend has ended the session. */
  async signsOut() {
    await until(() => this.signedOut > 0)
  }

  setTokens(tokens) {
    this.tokens = tokens
  }

  async requestMany(path, times) {
    return Promise.all(Array.from({ length: times }, () => this.backend.request(path)))
  }

  async logout() {
    await this.backend.logout()
  }

  /** Carry out [operation, table, id, values] in one transaction, as an app would through models. */
  async write(operations) {
    const { database } = this
    await database.write(async () => {
      const prepared = []
      for (const [operation, table, id, values] of operations) {
        const collection = database.get(table)
        if (operation === 'create') {
          prepared.push(
            collection.prepareCreate((record) => {
              if (id) record._raw.id = id
              for (const [column, value] of Object.entries(values)) record._setRaw(column, value)
            }),
          )
        } else {
          const record = await collection.find(id)
          prepared.push(
            operation === 'delete'
              ? record.prepareMarkAsDeleted()
              : record.prepareUpdate(() => {
                  for (const [column, value] of Object.entries(values)) record._setRaw(column, value)
                }),
          )
        }
      }
      await database.batch(prepared)
    })
  }

  async sync() {
    if (!this.backend) return mySync(this.database, this.token)
    return this.backend.sync({ migrationsEnabledAtVersion: 1 })
  }

  async reset() {
    await this.database.write(() => this.database.unsafeResetDatabase())
  }

  async unsynced() {
    return hasUnsyncedChanges({ database: this.database })
  }

  /** Every live record, {table: {id: raw}}. */
  async dump() {
    const all = {}
    for (const table of Object.keys(this.database.collections.map)) {
      const records = await this.database.get(table).query().fetch()
      all[table] = Object.fromEntries(records.map((record) => [record.id, { ...record._raw }]))
    }
    return all
  }
}

async function answer({ device, call, args }) {
  if (call === 'diagnostics') return diagnostics.splice(0)
  if (call === 'weather') return void (weather = args[0])
  if (call === 'traffic') return traffic.splice(0)
  if (call === 'sockets') return until(() => sockets.size === args[0])
  if (!devices.has(device)) devices.set(device, new Device(device))
  return devices.get(device)[call](...args)
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let reply
    try {
      reply = { result: (await answer(JSON.parse(line))) ?? null }
    } catch (error) {
      reply = { error: String(error && error.message) }
    }
    process.stdout.write(JSON.stringify(reply) + '\n')
  }
  process.exit(0)
}

main()
