// The aliases of an app that resolves with Babel (babel-plugin-module-resolver) and not by tsconfig.json.

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)
const { standIn } = require('./stand_in.cjs')

const CONFIGURATIONS = [
  'babel.config.js',
  'babel.config.cjs',
  'babel.config.json',
  '.babelrc.js',
  '.babelrc',
  '.babelrc.json',
]

/** Return a function that names the files which an import may mean, by the nearest configuration above. */
export function babelAliases(folder) {
  for (let at = folder; ; at = dirname(at)) {
    const name = CONFIGURATIONS.find((one) => existsSync(join(at, one)))
    if (name) return meanings(at, options(join(at, name)))
    if (at === dirname(at)) return () => []
  }
}

function options(path) {
  try {
    const read = /\.c?js$/.test(path) ? require(path) : JSON.parse(readFileSync(path, 'utf8'))
    const { plugins = [] } = typeof read === 'function' ? read(standIn('babel')) : read
    const found = plugins.find(
      (plugin) => Array.isArray(plugin) && String(plugin[0]).includes('module-resolver'),
    )
    return found?.[1] ?? {}
  } catch {
    // A configuration that only works where Babel is: what it would resolve is replaced, and named.
    return {}
  }
}

function meanings(folder, { alias = {}, root = [] }) {
  const aliases = Object.entries(Object.assign({}, ...[alias].flat()))
  return (path) => [
    ...aliases.flatMap(([from, to]) => {
      if (typeof to !== 'string') return []
      if (from.startsWith('^')) {
        const found = new RegExp(from).exec(path)
        return found
          ? [
              join(
                folder,
                to.replace(/\\(\d+)/g, (_, group) => found[group] ?? ''),
              ),
            ]
          : []
      }
      return path === from || path.startsWith(`${from}/`)
        ? [join(folder, to, path.slice(from.length))]
        : []
    }),
    ...[root].flat().map((one) => join(folder, one, path)),
  ]
}
