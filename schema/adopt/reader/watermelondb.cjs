// What stands in for WatermelonDB while the app's modules run: it keeps what they declare and refuses
// what the real one refuses, and besides what only the device's database would.
'use strict'

const { inspect } = require('node:util')

const { origin, standIn } = require('./stand_in.cjs')

const TYPES = ['string', 'number', 'boolean']
const RESERVED = ['id', '_changed', '_status', 'local_storage']
const OBJECT = [
  'constructor',
  'prototype',
  'hasOwnProperty',
  'isPrototypeOf',
  'toString',
  'toLocaleString',
  'valueOf',
]
const SQLITE = ['rowid', 'oid', '_rowid_', 'sqlite_master']

/** Something that cannot be adopted, in one sentence. It passes through every `catch` of the reader. */
class Refusal extends Error {}

/** Everything that `appSchema` and `schemaMigrations` returned, and every class with a decorator. */
const made = { schemas: [], migrations: [], models: new Set() }
const DECORATED = Symbol('decorated')

function refuse(condition, sentence) {
  if (condition) throw new Refusal(sentence)
}

/** Return the value, unless it was made of something that cannot be resolved here. */
function resolved(value, what) {
  const source = origin(value)
  refuse(source, `${what} depends on ${source}, which cannot be resolved here.`)
  return value
}

function checkName(name, what) {
  resolved(name, `The name of ${what}`)
  refuse(typeof name !== 'string' || !name, `The name of ${what} is missing or no text.`)
  const lower = name.toLowerCase()
  refuse(RESERVED.includes(lower), `'${name}', the name of ${what}, is reserved by WatermelonDB.`)
  refuse(
    OBJECT.includes(name) ||
      SQLITE.includes(lower) ||
      lower.startsWith('sqlite_stat') ||
      name.startsWith('__') ||
      !/^[a-zA-Z_]\w*$/.test(name),
    `'${name}', the name of ${what}, is refused by WatermelonDB: use letters, digits and underscores.`,
  )
  return name
}

/** Show a value as a module has it, in one short line. */
function shownValue(value) {
  const text = inspect(value, { breakLength: Infinity, compact: true })
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** Refuse SQL that WatermelonDB could not call. */
function checkUnsafeSql(value, what) {
  resolved(value, `unsafeSql of ${what}`)
  refuse(
    value != null && typeof value !== 'function',
    `unsafeSql of ${what} must be a function of the SQL.`,
  )
}

const isObject = (value) => typeof value === 'object' && value !== null

/** Return the object that one of WatermelonDB's functions was called with. */
function given(value, what) {
  resolved(value, `What ${what} is called with`)
  refuse(!isObject(value), `${what} is called with ${shownValue(value)}; it must be an object.`)
  return value
}

function listOf(value, what) {
  resolved(value, what)
  refuse(!Array.isArray(value), `${what} must be a list.`)
  // A list with a hole in it, `[, a]`, has nothing there to most of its methods.
  const list = Array.from(value)
  list.forEach((one) => resolved(one, what))
  refuse(
    !list.every(isObject),
    `${what} must be a list of objects; one of them is ${shownValue(list.find((one) => !isObject(one)))}.`,
  )
  return list
}

function checkUnique(names, what) {
  const seen = new Map()
  for (const name of names) {
    const before = seen.get(name.toLowerCase())
    refuse(before === name, `${what} '${name}' is declared twice.`)
    refuse(
      before,
      `${what} '${name}' and '${before}' differ only by case; SQLite takes them for one.`,
    )
    seen.set(name.toLowerCase(), name)
  }
}

function checkColumn(column, table) {
  const name = checkName(column.name, `a column of '${table}'`)
  const what = `'${table}.${name}'`
  for (const key of Object.keys(column)) {
    resolved(key, `The column ${what}`)
    resolved(column[key], `${key} of ${what}`)
  }
  refuse(
    !TYPES.includes(column.type),
    `${what} is of type ${shownValue(column.type)}; WatermelonDB knows ${TYPES.join(', ')}.`,
  )
  for (const flag of ['isOptional', 'isIndexed']) {
    // WatermelonDB takes 'false' for true.
    refuse(
      !['boolean', 'undefined'].includes(typeof column[flag]),
      `${flag} of ${what} is ${shownValue(column[flag])}; it must be true or false.`,
    )
  }
  refuse(
    (name === 'created_at' || name === 'updated_at') &&
      (column.type !== 'number' || column.isOptional),
    `${what} must be a number and not optional: WatermelonDB sets it.`,
  )
  refuse(
    name === 'last_modified' && column.type !== 'number',
    `${what} must be a number in WatermelonDB.`,
  )
  refuse(
    name.toLowerCase() === '_deleted',
    `${what} is a name of the export's own: give the column another one.`,
  )
}

function checkColumns(columns, table) {
  listOf(columns, `\`columns\` of '${table}'`).forEach((column) => checkColumn(column, table))
  checkUnique(
    columns.map((column) => column.name),
    `The column of '${table}'`,
  )
}

function tableSchema(table) {
  const { name, columns: columnArray, unsafeSql } = given(table, 'tableSchema()')
  checkName(name, 'a table')
  checkColumns(columnArray, name)
  checkUnsafeSql(unsafeSql, `the table '${name}'`)
  const columns = Object.fromEntries(columnArray.map((column) => [column.name, column]))
  return { name, columns, columnArray, unsafeSql }
}

function appSchema(schema) {
  const { version, tables: list, unsafeSql } = given(schema, 'appSchema()')
  checkVersion(version)
  listOf(list, '`tables` of appSchema()')
  list.forEach((table) => checkName(table.name, 'a table'))
  checkUnique(
    list.map((table) => table.name),
    'The table',
  )
  checkUnsafeSql(unsafeSql, 'the schema')
  const result = {
    version,
    tables: Object.fromEntries(list.map((table) => [table.name, table])),
    unsafeSql,
  }
  made.schemas.push(result)
  return result
}

function checkVersion(version) {
  resolved(version, 'The version')
  refuse(
    !Number.isInteger(version) || version < 1,
    `The schema's version is ${shownValue(version)}; it must be 1, 2, 3 …`,
  )
}

function createTable(table) {
  return { type: 'create_table', schema: tableSchema(table) }
}

function addColumns(step) {
  const { table, columns, unsafeSql } = given(step, 'addColumns()')
  checkName(table, 'the table of addColumns()')
  checkColumns(columns, table)
  checkUnsafeSql(unsafeSql, `addColumns() to '${table}'`)
  return { type: 'add_columns', table, columns, unsafeSql }
}

function unsafeExecuteSql(sql) {
  resolved(sql, 'The SQL of a migration')
  refuse(
    typeof sql !== 'string' || !sql.trimEnd().endsWith(';'),
    'The SQL of unsafeExecuteSql() must be a text that ends with a semicolon.',
  )
  return { type: 'sql', sql }
}

function schemaMigrations(all) {
  const { migrations } = given(all, 'schemaMigrations()')
  const sorted = [...listOf(migrations, '`migrations` of schemaMigrations()')]
  for (const { toVersion, steps } of sorted) {
    resolved(toVersion, "A migration's toVersion")
    refuse(
      !Number.isInteger(toVersion) || toVersion < 2,
      `A migration is to version ${shownValue(toVersion)}; the first is to 2.`,
    )
    listOf(steps, `\`steps\` of the migration to version ${toVersion}`)
    refuse(
      !steps.every((step) => ['create_table', 'add_columns', 'sql'].includes(step.type)),
      `The migration to version ${toVersion} has a step that is none of createTable, addColumns, unsafeExecuteSql.`,
    )
  }
  sorted.sort((one, other) => one.toVersion - other.toVersion)
  sorted.slice(1).forEach(({ toVersion }, index) => {
    const expected = sorted[index].toVersion + 1
    refuse(
      toVersion !== expected,
      `Migrations are without gaps or duplicates: ${expected} is to follow, not ${toVersion}.`,
    )
  })
  const result = {
    validated: true,
    minVersion: sorted.length ? sorted[0].toVersion - 1 : 1,
    maxVersion: sorted.length ? sorted.at(-1).toVersion : 1,
    sortedMigrations: sorted,
  }
  made.migrations.push(result)
  return result
}

class Model {
  static associations = {}
}

const associations = (...pairs) => Object.fromEntries(pairs)

/** Remember that a member of a model class was decorated, and with what. */
function record(decorator, args, target, key) {
  const model = typeof target === 'function' ? target : target.constructor
  if (!Object.hasOwn(model, DECORATED)) Object.defineProperty(model, DECORATED, { value: [] })
  model[DECORATED].push({ decorator, args, key })
  made.models.add(model)
}

/** As WatermelonDB's own: `@text('name') name` and `@lazy name` are both written. */
function decorator(name) {
  return (...args) => {
    if (args.length === 3 && typeof args[0] === 'object' && typeof args[1] === 'string') {
      return void record(name, [], args[0], args[1])
    }
    return (target, key) => void record(name, args, target, key)
  }
}

const FIELDS = [
  'text',
  'field',
  'date',
  'json',
  'relation',
  'immutableRelation',
  'children',
  'readonly',
  'nochange',
  'lazy',
]
const METHODS = ['writer', 'reader', 'action', 'experimentalFailsafe']

const names = {
  appSchema,
  tableSchema,
  validateColumnSchema: (column) => checkColumn(column, '?'),
  tableName: (name) => name,
  columnName: (name) => name,
  localStorageKey: (name) => name,
  createTable,
  addColumns,
  unsafeExecuteSql,
  schemaMigrations,
  Model,
  associations,
  ...Object.fromEntries(FIELDS.map((name) => [name, decorator(name)])),
  ...Object.fromEntries(METHODS.map((name) => [name, (_target, _key, descriptor) => descriptor])),
}

/** Return what `import`ing `@nozbe/watermelondb` or a path within it gives. */
function watermelondb(path) {
  const last = path.split('/').at(-1)
  const rest = standIn('@nozbe/watermelondb')
  const module = Object.create(Object.getPrototypeOf(rest))
  return Object.assign(module, names, { __esModule: true, default: names[last] ?? rest[last] })
}

module.exports = {
  watermelondb,
  made,
  DECORATED,
  Refusal,
  refuse,
  resolved,
  appSchema,
  tableSchema,
  addColumns,
  unsafeExecuteSql,
  schemaMigrations,
}
