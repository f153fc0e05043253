// What a schema, its migrations and its models say, in the one form that `make adopt` goes on with.

import { createRequire } from 'node:module'

const { appSchema, made, refuse, resolved, schemaMigrations, tableSchema } = createRequire(
  import.meta.url,
)('./watermelondb.cjs')

/** Return the one schema of a module: what it exports, or else the only one that it made. */
export function findSchema(module, name, shown) {
  if (name) {
    const value = name.split('.').reduce((from, key) => from?.[key], module)
    refuse(
      !isSchema(resolved(value, `The export ${name} of ${shown}`)),
      `${shown} exports no schema as '${name}'.`,
    )
    return value
  }
  const exported = exportsOf(module, isSchema)
  const found = exported.size ? exported : new Map(made.schemas.map((schema) => [schema, '?']))
  refuse(found.size === 0, `${shown} has no result of appSchema(): export it.`)
  const names = [...found.values()].join(', ')
  refuse(
    found.size > 1,
    `${shown} has ${found.size} schemas (${names}): choose one with EXPORT=name.`,
  )
  return [...found.keys()][0]
}

/** Return the migrations that a module exports, or null when it has none. */
export function findMigrations(module, shown) {
  const found = [...exportsOf(module, (value) => Array.isArray(value?.sortedMigrations)).keys()]
  refuse(
    found.length > 1,
    `${shown} exports ${found.length} results of schemaMigrations(): give MIGRATIONS= a module with one.`,
  )
  return found[0] ?? null
}

function isSchema(value) {
  return (
    typeof value === 'object' &&
    value !== null &&
    'version' in value &&
    typeof value.tables === 'object'
  )
}

/** The values of a module that pass, each with the name by which it is exported. */
function exportsOf(module, passes) {
  const found = new Map()
  const look = (value, name, depth) => {
    if (typeof value !== 'object' || value === null || found.has(value)) return
    if (passes(value)) found.set(value, name || 'module.exports')
    else if (depth && isPlainObject(value))
      Object.entries(value).forEach(([key, inner]) =>
        look(inner, name ? `${name}.${key}` : key, depth - 1),
      )
  }
  look(module, '', 2)
  return found
}

const isPlainObject = (value) => [Object.prototype, null].includes(Object.getPrototypeOf(value))

/** Check a schema as a whole, whichever way it was made, and return `{version, tables}`. */
export function canonicalSchema(schema, look) {
  const { tables } = schema
  const list = Array.isArray(tables)
    ? tables
    : Object.entries(tables).map(([key, table]) => named(key, table))
  if (!made.schemas.includes(schema)) appSchema({ ...schema, tables: list })
  if (schema.unsafeSql)
    look.push(
      "The schema has unsafeSql: it is the app's own and not printed by make client-schema.",
    )
  return { version: schema.version, tables: list.map((table) => canonicalTable(table, look)) }
}

function named(key, table) {
  resolved(table, `The table '${key}'`)
  refuse(typeof table !== 'object' || !table, `The table '${key}' is no object.`)
  refuse(
    table.name !== undefined && table.name !== key,
    `The table '${key}' calls itself '${table.name}'.`,
  )
  return { ...table, name: key }
}

function canonicalTable({ name, columns, columnArray, unsafeSql }, look) {
  let list = columnArray ?? columns
  if (!Array.isArray(list) && typeof list === 'object' && list) {
    list = Object.entries(list).map(([key, column]) => ({ name: key, ...column }))
  }
  tableSchema({ name, columns: list })
  if (unsafeSql)
    look.push(
      `The table '${name}' has unsafeSql: it is the app's own and not printed by make client-schema.`,
    )
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
  return sortedMigrations.map(({ toVersion, steps }) => ({
    toVersion,
    steps: steps.map((step) => canonicalStep(step, look)),
  }))
}

function canonicalStep(step, look) {
  if (step.type === 'sql') return { type: 'sql', sql: step.sql }
  if (step.type === 'create_table')
    return { type: 'create_table', ...canonicalTable(step.schema, look) }
  if (step.unsafeSql)
    look.push(
      `A migration of '${step.table}' has unsafeSql: it is not printed by make client-schema.`,
    )
  return { type: 'add_columns', table: step.table, columns: step.columns.map(canonicalColumn) }
}
