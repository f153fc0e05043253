// Reads an app's schema: `node read.mjs '{"schema": …, "result": …}'` writes JSON into the file `result`.
//
// Settings (paths are absolute): schema, models, migrations (null: looked for beside the schema), export,
// root (what messages name files from), modules (where esbuild is installed), result.
// Written is {"schema": {version, tables, migrations, relations, models, look, replaced}} or {"error": sentence}.

import { existsSync, readdirSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'

import { canonicalMigrations, canonicalSchema, findMigrations, findSchema } from './canonical.mjs'
import { firstLine, load } from './load.mjs'
import { canonicalModels, proposeRelations } from './models.mjs'

const require = createRequire(import.meta.url)
const { replaced, standIn } = require('./stand_in.cjs')
const { Refusal } = require('./watermelondb.cjs')

const MODULE = /\.([mc]?[jt]s|[jt]sx|json)$/
const settings = JSON.parse(process.argv[2])
const shown = (path) => relative(settings.root, path)

function prepareGlobals() {
  Object.assign(globalThis, { __DEV__: true, window: globalThis, self: globalThis })
  for (const name of ['document', 'navigator', 'localStorage', 'sessionStorage', 'location']) {
    // Some are Node's own getters, which warn or throw.
    Object.defineProperty(globalThis, name, {
      value: standIn(name),
      configurable: true,
      writable: true,
    })
  }
  process.env.NODE_ENV = 'development'
  for (const name of ['exit', 'abort', 'kill']) {
    process[name] = () => {
      throw new Refusal(
        `${shown(settings.schema)} ends the process with process.${name}() when it is loaded.`,
      )
    }
  }
  // What the app began and nobody waits for.
  process.on('unhandledRejection', () => {})
}

function beside(schema) {
  const folder = dirname(schema)
  const found = readdirSync(folder)
    .filter((name) => /^migrations\.([mc]?[jt]sx?)$/.test(name))
    .sort()
  if (found.length) return join(folder, found[0])
  const index = join(folder, 'migrations')
  const within =
    existsSync(index) &&
    statSync(index).isDirectory() &&
    readdirSync(index)
      .filter((name) => /^index\.[mc]?[jt]sx?$/.test(name))
      .sort()
  return within && within.length ? join(index, within[0]) : null
}

function modulesOf(path) {
  if (!path) return []
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { withFileTypes: true })
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => {
      if (entry.isDirectory())
        return /^(node_modules|__\w+__)$/.test(entry.name) ? [] : modulesOf(join(path, entry.name))
      const isModule =
        MODULE.test(entry.name) && !/\.(d|test|spec)\.[mc]?[jt]sx?$|\.json$/.test(entry.name)
      return isModule ? [join(path, entry.name)] : []
    })
}

async function read() {
  const look = []
  const schemaPath = realpathSync(settings.schema)
  const given = settings.migrations && realpathSync(settings.migrations)
  const sibling = given ? null : beside(schemaPath)
  const modelPaths = modulesOf(settings.models && realpathSync(settings.models))
  const paths = [schemaPath, given ?? sibling, ...modelPaths].filter(Boolean)
  const strict = [schemaPath, given].filter(Boolean)
  const loaders = await load(paths, { strict, modules: settings.modules, root: settings.root })
  const modules = loaders.map((loader, index) => {
    try {
      return loader()
    } catch (error) {
      if (error instanceof Refusal) throw error
      const without = replaced.size ? ` (loaded without ${[...replaced.keys()].join(', ')})` : ''
      throw new Refusal(
        `${shown(paths[index])} fails when it is loaded: ${firstLine(error)}${without}.`,
      )
    }
  })
  const schema = canonicalSchema(
    await findSchema(modules[0], settings.export, shown(schemaPath)),
    look,
  )
  const besides = (given ?? sibling) ? findMigrations(modules[1], shown(paths[1])) : null
  if (given && !besides)
    throw new Refusal(`${shown(given)} exports no result of schemaMigrations().`)
  const migrations = canonicalMigrations(
    (given ? null : findMigrations(modules[0], shown(schemaPath))) ?? besides,
    schema.version,
    look,
  )
  const models = canonicalModels(modules.slice(paths.length - modelPaths.length))
  const relations = proposeRelations(schema.tables, models, look)
  return {
    ...schema,
    migrations,
    relations,
    models,
    look,
    replaced: Object.fromEntries([...replaced].sort()),
  }
}

let result
// Kept from the app's own hands.
const exit = process.exit.bind(process)
try {
  prepareGlobals()
  result = { schema: await read() }
} catch (error) {
  if (!(error instanceof Refusal)) console.error(error)
  result = {
    error:
      error instanceof Refusal
        ? error.message
        : `${shown(settings.schema)} cannot be adopted: ${firstLine(error)}.`,
  }
}
writeFileSync(settings.result, JSON.stringify(result))
exit(0)
