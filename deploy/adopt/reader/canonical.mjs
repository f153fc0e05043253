// What a schema, its migrations and its models say, in the one form that `make adopt` goes on with.

import { createRequire } from 'node:module'

const { DECORATED, appSchema, made, refuse, resolved, schemaMigrations, tableSchema } = createRequire(
  import.meta.url,
)('./watermelondb.cjs')

/** Return the one schema of a module: what it exports, or else the only one that it made. */
export function findSchema(module, name, shown) {
  if (name) {
    const value = name.split('.').reduce((from, key) => from?.[key], module)
    refuse(!isSchema(resolved(value, `The export ${name} of ${shown}`)), `${shown} exports no schema as '${name}'.`)
    return value
  }
  const exported = exports(module, isSchema)
  const found = exported.size ? exported : new Map(made.schemas.map((schema) => [schema, '?']))
  refuse(found.size === 0, `${shown} has no result of appSchema(): export it.`)
  const names = [...found.values()].join(', ')
  refuse(found.size > 1, `${shown} has ${found.size} schemas (${names}): choose one with EXPORT=name.`)
  return [...found.keys()][0]
}

/** Return the migrations that a module exports, or null when it has none. */
export function findMigrations(module, shown) {
  const found = [...exports(module, (value) => Array.isArray(value?.sortedMigrations)).keys()]
  refuse(found.length > 1, `${shown} exports ${found.length} results of schemaMigrations(): give MIGRATIONS= a module with one.`)
  return found[0] ?? null
}

function isSchema(value) {
  return typeof value === 'object' && value !== null && 'version' in value && typeof value.tables === 'object'
}

/** The values of a module that pass, each with the name by which it is exported. */
function exports(module, passes) {
  const found = new Map()
  const look = (value, name, depth) => {
    if (typeof value !== 'object' || value === null || found.has(value)) return
    if (passes(value)) found.set(value, name || 'module.exports')
    else if (depth) Object.entries(value).forEach(([key, inner]) => look(inner, name ? `${name}.${key}` : key, depth - 1))
  }
  look(module, '', 2)
  return found
}

/** Check a schema as a whole, whichever way it was made, and return `{version, tables}`. */
export function canonicalSchema(schema, look) {
  const { tables } = schema
  const list = Array.isArray(tables) ? tables : Object.entries(tables).map(([key, table]) => named(key, table))
  if (!made.schemas.includes(schema)) appSchema({ ...schema, tables: list })
  if (schema.unsafeSql) look.push('The schema has unsafeSql: it is the app\'s own and not printed by make client-schema.')
  return { version: schema.version, tables: list.map((table) => canonicalTable(table, look)) }
}

function named(key, table) {
  resolved(table, `The table '${key}'`)
  refuse(typeof table !== 'object' || !table, `The table '${key}' is no object.`)
  refuse(table.name !== undefined && table.name !== key, `The table '${key}' calls itself '${table.name}'.`)
  return { ...table, name: key }
}

function canonicalTable({ name, columns, columnArray, unsafeSql }, look) {
  let list = columnArray ?? columns
  if (!Array.isArray(list) && typeof list === 'object' && list) {
    list = Object.entries(list).map(([key, column]) => ({ name: key, ...column }))
  }
  tableSchema({ name, columns: list })
  if (unsafeSql) look.push(`The table '${name}' has unsafeSql: it is the app's own and not printed by make client-schema.`)
  return { name, columns: list.map(canonicalColumn) }
}

function canonicalColumn({ name, type, isOptional, isIndexed }) {
  return { name, type, isOptional: Boolean(isOptional), isIndexed: Boolean(isIndexed) }
}

/** Check migrations against the schema's version, and return `[{toVersion, steps}]`; null when there are none to be had. */
export function canonicalMigrations(found, version, look) {
  if (!found) return version === 1 ? [] : null
  const { sortedMigrations, maxVersion } = made.migrations.includes(found)
    ? found
    : schemaMigrations({ migrations: found.sortedMigrations })
  refuse(
    maxVersion !== version,
    `The schema is version ${version} and its migrations end at ${maxVersion}: WatermelonDB would not start.`,
  )
  return sortedMigrations.map(({ toVersion, steps }) => ({ toVersion, steps: steps.map((step) => canonicalStep(step, look)) }))
}

function canonicalStep(step, look) {
  if (step.type === 'sql') return { type: 'sql', sql: step.sql }
  if (step.type === 'create_table') return { type: 'create_table', ...canonicalTable(step.schema, look) }
  if (step.unsafeSql) look.push(`A migration of '${step.table}' has unsafeSql: it is not printed by make client-schema.`)
  return { type: 'add_columns', table: step.table, columns: step.columns.map(canonicalColumn) }
}

/** Return what the app's model classes say, by table. */
export function canonicalModels(modules) {
  const classes = new Set(made.models)
  for (const module of modules) exports(module, (value) => (collect(value, classes), false))
  const models = {}
  for (const model of [...classes].sort((one, other) => (one.name < other.name ? -1 : 1))) {
    const table = Object.hasOwn(model, 'table') && model.table
    if (typeof table !== 'string' || models[table]) continue
    const members = model[DECORATED] ?? []
    const named = (...names) => members.filter(({ decorator, args }) => names.includes(decorator) && args.length)
    models[table] = {
      class: model.name,
      associations: Object.entries(model.associations ?? {})
        .filter(([, one]) => one && typeof (one.key ?? one.foreignKey) === 'string')
        .map(([to, { type, key, foreignKey }]) => ({ table: to, type, column: key ?? foreignKey })),
      relations: named('relation', 'immutableRelation').map(({ args }) => ({ table: args[0], column: args[1] })),
      columns: Object.fromEntries(
        named('json', 'date', 'text', 'field').map(({ decorator, args }) => [args[0], decorator]),
      ),
    }
  }
  return models
}

function collect(value, classes) {
  for (const one of typeof value === 'object' && value ? Object.values(value) : []) {
    if (typeof one === 'function' && typeof one.table === 'string') classes.add(one)
  }
}

/** Propose relations: what the models say, and columns that are named after a table. */
export function proposeRelations(tables, models, look) {
  const byName = new Map(tables.map((table) => [table.name, table]))
  const found = new Map()
  const propose = (table, column, parent, why) => {
    const known = byName.get(table)?.columns.find(({ name }) => name === column)
    const key = JSON.stringify([table, column])
    if (known?.type === 'string' && byName.has(parent)) {
      const before = found.get(key)
      if (!before) found.set(key, { table, column, parent, on_delete: 'keep', why })
      else if (before.parent !== parent && before.why === 'models') {
        look.push(`The models relate ${table}.${column} to ${before.parent} and to ${parent}; the first is proposed.`)
      }
    } else if (why === 'models') {
      look.push(`The models relate ${table}.${column} to ${parent}: ${known ? `the schema has no table '${parent}' or the column is no string` : 'the schema has no such column'}.`)
    }
  }
  for (const [table, { associations, relations }] of Object.entries(models)) {
    relations.forEach(({ table: parent, column }) => propose(table, column, parent, 'models'))
    for (const { table: other, type, column } of associations) {
      if (type === 'belongs_to') propose(table, column, other, 'models')
      else propose(other, column, table, 'models')
    }
  }
  for (const table of tables) {
    for (const { name, type } of table.columns) {
      const parent = type === 'string' && namedAfter(name, table.name, byName)
      if (parent) propose(table.name, name, parent, 'name')
    }
  }
  // In the order of the schema, whatever said it first.
  return tables.flatMap((table) =>
    table.columns.flatMap(({ name }) => found.get(JSON.stringify([table.name, name])) ?? []),
  )
}

/** Return the table that a column like `task_id` or `authorUserId` is named after, or undefined. */
function namedAfter(column, own, byName) {
  const [, stem] = /^(.+?)(?:_id|Id)$/.exec(column) ?? []
  if (!stem) return undefined
  const words = snake(stem).split('_')
  if (words.join('_') === 'parent') return own
  const tables = new Map([...byName.keys()].map((name) => [snake(name), name]))
  for (let first = 0; first < words.length; first += 1) {
    const name = plurals(words.slice(first).join('_')).find((one) => tables.has(one))
    if (name) return tables.get(name)
  }
  return undefined
}

const snake = (name) => name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase()

const IRREGULAR = { person: 'people', child: 'children', man: 'men', woman: 'women', datum: 'data', medium: 'media' }

function plurals(word) {
  const [, head, last] = /^(.*_)?([^_]+)$/.exec(word) ?? [null, '', word]
  const irregular = IRREGULAR[last] ? [(head ?? '') + IRREGULAR[last]] : []
  return [...irregular, `${word}s`, `${word}es`, word.replace(/y$/, 'ies'), word.replace(/fe?$/, 'ves'), word]
}
