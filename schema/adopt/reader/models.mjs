// What the app's model classes say, and the relations that follow from them and from the columns' names.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { origin } = require('./stand_in.cjs')
const { DECORATED, made } = require('./watermelondb.cjs')

/** Return what the app's model classes say, by table. */
export function canonicalModels(modules) {
  const classes = new Set([...made.models, ...exported(modules)])
  const models = {}
  for (const model of [...classes].sort((one, other) => (one.name < other.name ? -1 : 1))) {
    const table = Object.hasOwn(model, 'table') && model.table
    if (!isPlain(table) || models[table]) continue
    const members = decorated(model)
    const named = (...names) =>
      members.filter(({ decorator, args }) => names.includes(decorator) && isPlain(args[0]))
    models[table] = {
      class: model.name,
      associations: Object.entries(model.associations ?? {})
        .filter(([, one]) => isPlain(one?.key ?? one?.foreignKey))
        .map(([to, { type, key, foreignKey }]) => ({ table: to, type, column: key ?? foreignKey })),
      relations: named('relation', 'immutableRelation')
        .filter(({ args }) => isPlain(args[1]))
        .map(({ args }) => ({ table: args[0], column: args[1] })),
      columns: Object.fromEntries(
        named('json', 'date', 'text', 'field').map(({ decorator, args }) => [args[0], decorator]),
      ),
    }
  }
  return models
}

/** The decorators of a class and of those that it extends. */
function decorated(model) {
  if (typeof model !== 'function' || origin(model)) return []
  const own = Object.hasOwn(model, DECORATED) ? model[DECORATED] : []
  return [...decorated(Object.getPrototypeOf(model)), ...own]
}

/** Whether a value is a text that needs nothing that is not here. */
const isPlain = (value) => typeof value === 'string' && !origin(value)

/** The model classes that modules export, by themselves or in a list. */
function exported(modules) {
  const values = modules.flatMap((module) => Object.values(Object(module)))
  const classes = values.flatMap((value) => (Array.isArray(value) ? value : [value]))
  return [...modules, ...classes].filter(
    (value) => typeof value === 'function' && typeof value.table === 'string',
  )
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
        look.push(
          `The models relate ${table}.${column} to ${before.parent} and to ${parent}; the first is proposed.`,
        )
      }
    } else if (why === 'models') {
      look.push(
        `The models relate ${table}.${column} to ${parent}: ${known ? `the schema has no table '${parent}' or the column is no string` : 'the schema has no such column'}.`,
      )
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

const IRREGULAR = {
  person: 'people',
  child: 'children',
  man: 'men',
  woman: 'women',
  datum: 'data',
  medium: 'media',
}

function plurals(word) {
  const [, head, last] = /^(.*_)?([^_]+)$/.exec(word) ?? [null, '', word]
  const irregular = IRREGULAR[last] ? [(head ?? '') + IRREGULAR[last]] : []
  return [
    ...irregular,
    `${word}s`,
    `${word}es`,
    word.replace(/y$/, 'ies'),
    word.replace(/fe?$/, 'ves'),
    word,
  ]
}
