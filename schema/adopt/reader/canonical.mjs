// What a schema, its migrations and its models say, in the one form that `make adopt` goes on with.

import { createRequire } from 'node:module'
import { isDeepStrictEqual, types } from 'node:util'

const {
  addColumns,
  appSchema,
  made,
  refuse,
  resolved,
  schemaMigrations,
  tableSchema,
  unsafeExecuteSql,
} = createRequire(import.meta.url)('./watermelondb.cjs')

/** Milliseconds in which a promise that a module exports may say what it is. */
const PATIENCE_MS = 1000

/** Return the one schema of a module: what it exports, or else the only one that it made. */
export async function findSchema(module, name, shown) {
  if (name) {
    const value = name.split('.').reduce((from, key) => from?.[key], module)
    await refusePromised(new Map([[value, name]]), shown)
    refuse(
      !isSchema(resolved(value, `The export ${name} of ${shown}`)),
      `${shown} exports no schema as '${name}'.`,
    )
    return value
  }
  await refusePromised(exportsOf(module, types.isPromise), shown)
  const exported = exportsOf(module, isSchema)
  const found = exported.size ? exported : new Map(made.schemas.map((schema) => [schema, '?']))
  refuse(
    found.size === 0,
    shown.endsWith('.json')
      ? `${shown} is no schema: it must be an object with \`version\` and \`tables\`.`
      : `${shown} has no result of appSchema(): export it.`,
  )
  const names = [...exported.values()].join(', ')
  refuse(
    found.size > 1,
    exported.size
      ? `${shown} has ${found.size} schemas (${names}): choose one with EXPORT=name.`
      : `${shown} makes ${found.size} schemas and exports none of them: export the one that the app uses.`,
  )
  return [...found.keys()][0]
}

/** Refuse promises of a schema, by their names: which of two it would be is not known when the app starts. */
async function refusePromised(named, shown) {
  for (const [value, name] of named) {
    if (!types.isPromise(value)) continue
    const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))
    const found = await Promise.race([value, late]).catch(() => undefined)
    refuse(
      exportsOf(found, isSchema).size,
      `${shown} exports a promise of a schema as '${name}'; WatermelonDB needs the schema itself: export the result of appSchema().`,
    )
  }
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
    typeof value.tables === 'object' &&
    value.tables !== null
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
    : Object.entries(tables).map(([key, table]) => named(key, table, 'table'))
  if (!made.schemas.includes(schema)) appSchema({ ...schema, tables: list })
  if (schema.unsafeSql)
    look.push(
      "The schema has unsafeSql: it is the app's own and not printed by make client-schema.",
    )
  return { version: schema.version, tables: list.map((table) => canonicalTable(table, look)) }
}

function named(key, value, what) {
  resolved(value, `The ${what} '${key}'`)
  refuse(typeof value !== 'object' || !value, `The ${what} '${key}' is no object.`)
  refuse(
    value.name !== undefined && value.name !== key,
    `The ${what} '${key}' calls itself '${value.name}'.`,
  )
  return { ...value, name: key }
}

function canonicalTable({ name, columns, columnArray, unsafeSql }, look) {
  let list = columnArray ?? columns
  if (!Array.isArray(list) && typeof list === 'object' && list) {
    list = Object.entries(list).map(([key, column]) => named(key, column, `column of '${name}'`))
  }
  const names = Array.isArray(columns) ? columns.map((column) => column?.name) : null
  refuse(
    columnArray && names && !isDeepStrictEqual(columnArray.map?.((column) => column?.name), names),
    `\`columns\` and \`columnArray\` of '${name}' differ: leave one of them out.`,
  )
  tableSchema({ name, columns: list, unsafeSql })
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

/** Check a step, which need not have been made by WatermelonDB's functions. */
function canonicalStep(step, look) {
  if (step.type === 'sql') return unsafeExecuteSql(step.sql)
  refuse(
    step.type === 'create_table' && (typeof step.schema !== 'object' || !step.schema),
    'A step of a migration creates a table without a schema.',
  )
  if (step.type === 'create_table')
    return { type: 'create_table', ...canonicalTable(step.schema, look) }
  addColumns(step)
  if (step.unsafeSql)
    look.push(
      `A migration of '${step.table}' has unsafeSql: it is not printed by make client-schema.`,
    )
  return { type: 'add_columns', table: step.table, columns: step.columns.map(canonicalColumn) }
}
