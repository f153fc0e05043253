// A device: a WatermelonDB, a session, and who made what it pulls.

import { appSchema, Database, Model, tableSchema } from '@nozbe/watermelondb'
import LokiJSAdapter from '@nozbe/watermelondb/adapters/lokijs'
import { synchronize } from '@nozbe/watermelondb/sync'
import { LokiMemoryAdapter } from 'lokijs'
import { createBackend } from '../src/backend'
import { live } from '../src/live'

/** Columns that WatermelonDB sets by itself. */
export const AUTOMATIC = ['created_at', 'updated_at']
const LOG_LENGTH = 5

/** Those of this page. */
export const devices = []

/** Which device of this page pushed what last, by table, id and column (deletions: without a column). */
const pushed = new Map()

const send = window.fetch.bind(window)
// An app needs nothing of this: here answers can get lost on their way back.
window.fetch = async (url, options) => {
  const answer = await send(url, options)
  const device = devices.find(
    ({ tokens }) => tokens && options?.headers?.Authorization === `Bearer ${tokens.accessToken}`,
  )
  if (device?.losesAnswers && String(url).endsWith('/sync/push')) {
    device.note('↯ pushed, and the answer got lost')
    throw new TypeError('the answer got lost')
  }
  return answer
}

/** A model without members: this page reads columns by their names. */
function modelClass({ name, columns }, tables) {
  const children = tables.flatMap((child) =>
    child.columns
      .filter((column) => column.parent === name && column.cascades && child.name !== name)
      .map((column) => [child.name, { type: 'has_many', foreignKey: column.name }]),
  )
  class Record extends Model {
    static table = name
    static associations = Object.fromEntries(children)
  }
  const members = { created_at: 'createdAt', updated_at: 'updatedAt' }
  for (const column of columns.filter(({ name }) => AUTOMATIC.includes(name))) {
    // WatermelonDB sets them for models that have these members.
    Object.defineProperty(Record.prototype, members[column.name], { value: null })
  }
  return Record
}

function createDatabase(name, tables) {
  const schema = appSchema({ version: 1, tables: tables.map(tableSchema) })
  return new Database({
    adapter: new LokiJSAdapter({
      schema,
      dbName: name,
      useWebWorker: false,
      useIncrementalIndexedDB: true,
      // Gone with the page. An app leaves this out, and its records stay.
      extraLokiOptions: { adapter: new LokiMemoryAdapter(), autosave: false },
    }),
    modelClasses: tables.map((table) => modelClass(table, tables)),
  })
}

export function createDevice(name, { tables, url, explain, say }) {
  const database = createDatabase(name, tables)
  const device = {
    name,
    tables,
    database,
    tokens: null,
    isOnline: true,
    losesAnswers: false,
    isSyncing: false,
    pulledUpTo: null,
    /** What the last pull brought, by table and id: sentences for each record. */
    arrivals: new Map(),
    log: [],
    /** Those that its records can be in, besides the personal one. */
    spaces: [],
    note,
    sync,
    listen,
    setOnline,
    /** Called after each change of the device. */
    changed: () => {},
  }
  /** What this device last pulled or pushed, by table, id and column. */
  const known = new Map()
  const repaired = new Set()
  let running = null
  let stopListening = null
  device.backend = createBackend({
    url,
    database,
    storage: {
      load: async () => device.tokens,
      save: async (tokens) => {
        device.tokens = tokens
      },
    },
    onSignedOut: () => say('The session has ended. Load the page again.', true),
    onPushed: (result) =>
      Object.entries(result.repaired ?? {}).forEach(([table, ids]) =>
        ids.forEach((id) => repaired.add(`${table} ${id}`)),
      ),
  })
  devices.push(device)
  return device

  function note(text, more = {}) {
    device.log = [{ key: Symbol(text), time: Date.now(), text, ...more }, ...device.log]
    device.log.length = Math.min(device.log.length, LOG_LENGTH)
    device.changed()
  }

  /** Sync by itself from now on, whenever others have changed something. */
  function listen() {
    stopListening = live(device.backend, async () => {
      await running
      await sync()
    })
  }

  function setOnline(isOnline) {
    device.isOnline = isOnline
    if (stopListening && isOnline) listen()
    else stopListening?.()
    device.changed()
  }

  async function sync() {
    if (!device.isOnline || device.isSyncing) return
    running = syncNow()
    await running
  }

  async function syncNow() {
    device.isSyncing = true
    device.changed()
    const log = {}
    let came = 'nothing'
    try {
      // An app calls backend.sync(); this page shows what goes over the network.
      await synchronize({
        database,
        log,
        pullChanges: async (request) => {
          const pulled = await device.backend.pullChanges(request)
          came = counts(pulled.changes)
          note(`↓ ${came}, up to ${clockTime(pulled.timestamp)}`, { json: pulled.changes })
          device.arrivals = await arrivals(pulled.changes)
          return pulled
        },
        pushChanges: async (request) => {
          note(`↑ ${counts(request.changes)}`, { json: request.changes })
          remember(request.changes)
          return device.backend.pushChanges(request)
        },
      })
      device.pulledUpTo = log.newLastPulledAt
      say(`${name} is synced: ${came} came in.`)
    } catch (error) {
      const lost = 'The answers to its push got lost. Sync again: what arrived is not applied twice.'
      const problem = device.losesAnswers && error.code === 'network' ? lost : explain(error)
      note(`✕ ${problem}`, { wrong: true })
      say(`${name}: ${problem}`, true)
    }
    device.isSyncing = false
    device.changed()
  }

  /** Remember a push: its answer may get lost. */
  function remember(changes) {
    for (const [key, column, value, isEdit] of values(changes)) {
      pushed.set(`${key} ${column}`, { by: name, value })
      known.set(`${key} ${column}`, { value, isMine: isEdit })
    }
    for (const key of deletions(changes)) pushed.set(key, { by: name })
  }

  /** Tell of each record that is pulled what is new about it, and whose that is: sentences by record. */
  async function arrivals(changes) {
    const news = new Map()
    const before = new Map()
    for (const table of tables) {
      for (const { _raw } of await database.get(table.name).query().fetch()) {
        before.set(`${table.name} ${_raw.id}`, { ..._raw })
      }
    }
    for (const [key, column, value] of values(changes)) {
      const was = before.get(key)
      const said = was ? difference(key, column, was, value) : `new, from ${author(key, column, value)}`
      known.set(`${key} ${column}`, { value, isMine: false })
      if (said && (was || !news.has(key))) news.set(key, [...(news.get(key) ?? []), said])
    }
    for (const key of deletions(changes)) {
      if (before.has(key)) note(`✕ ${farewell(key, before.get(key), changes)}`)
    }
    return news
  }

  /** What is pulled or pushed, value by value: record, column, value, and whether it is an edit. */
  function* values(changes) {
    for (const { name: table, columns } of tables) {
      const { created = [], updated = [] } = changes[table] ?? {}
      for (const raw of [...created, ...updated]) {
        const edited = raw._status === 'updated' ? raw._changed.split(',') : null
        for (const { name: column } of columns) {
          if (AUTOMATIC.includes(column) || !(column in raw)) continue
          if (!edited || edited.includes(column)) {
            yield [`${table} ${raw.id}`, column, raw[column], Boolean(edited)]
          }
        }
      }
    }
  }

  function deletions(changes) {
    return Object.entries(changes).flatMap(([table, { deleted }]) =>
      deleted.map((id) => `${table} ${id}`),
    )
  }

  function author(key, column, value) {
    const last = pushed.get(`${key} ${column}`)
    if (last && last.value === value) return last.by
    return repaired.has(key) ? 'the server, which could not store it' : 'another device'
  }

  /** Say what becomes of a column: the pulled value takes the place of the device's, or gives way to it. */
  function difference(key, column, was, value) {
    const base = known.get(`${key} ${column}`)
    if (base?.value === value || was[column] === value) return null
    const from = author(key, column, value)
    if (from === name) return null
    const mine = quote(was[column])
    if (was._changed.split(',').includes(column)) {
      return `${column}: ${quote(value)}, from ${from}, gives way to your ${mine}`
    }
    return `${column}: ${base?.isMine ? 'your ' : ''}${mine} became ${quote(value)}, from ${from}`
  }

  function farewell(key, was, changes) {
    const { name: table, columns } = tables.find(({ name }) => key.startsWith(`${name} `))
    const above = columns.find(
      (column) => column.cascades && changes[column.parent]?.deleted.includes(was[column.name]),
    )
    const by = pushed.get(key)?.by ?? (above ? 'the server, with what it belonged to' : 'another device')
    const lost = was._changed
      .split(',')
      .filter((column) => column && !AUTOMATIC.includes(column))
      .map((column) => `, and with it your ${column} ${quote(was[column])}`)
    return `${quote(titleOf(columns, was))} of ${table} was deleted by ${by}${lost.join('')}`
  }
}

/** The first text, which says what a record is called, if there is one. */
export function titleColumn(columns) {
  return columns.find(({ type, parent, isSpace }) => type === 'string' && !parent && !isSpace)
}

/** What a record is called. */
export function titleOf(columns, raw) {
  const column = titleColumn(columns)
  return column ? raw[column.name] || '' : ''
}

export function clockTime(ms) {
  const two = '2-digit'
  const parts = { hour: two, minute: two, second: two, fractionalSecondDigits: 3, hour12: false }
  return new Date(ms).toLocaleTimeString([], parts)
}

function quote(value) {
  if (value === null) return 'nothing'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number') return String(value)
  return `“${value.length > 40 ? `${value.slice(0, 39)}…` : value}”`
}

function counts(changes) {
  const counted = Object.entries(changes).flatMap(([table, change]) =>
    ['created', 'updated', 'deleted']
      .filter((bucket) => change[bucket].length > 0)
      .map((bucket) => `${table} ${change[bucket].length} ${bucket}`),
  )
  return counted.join(', ') || 'nothing'
}
