// Runs the app's modules as its bundler would resolve them, with stand-ins for what is not here.

import { readFile } from 'node:fs/promises'
import Module, { createRequire, isBuiltin } from 'node:module'
import { dirname, relative } from 'node:path'
import vm from 'node:vm'

import { babelAliases } from './aliases.mjs'

const require = createRequire(import.meta.url)
const { inherit, replace } = require('./stand_in.cjs')
const { watermelondb, Refusal } = require('./watermelondb.cjs')

const SOURCES = ['.tsx', '.ts', '.mts', '.cts', '.jsx', '.js', '.mjs', '.cjs', '.json']
/** As Metro does: the platform's own file first. */
const EXTENSIONS = SOURCES.flatMap((end) =>
  ['.ios', '.native', '', '.android', '.web'].map((platform) => platform + end),
)
const WATERMELON = /^@nozbe\/watermelondb(\/|$)/
/** Native by nature: nothing of them runs here, whether installed or not. */
const NATIVE = /^(react-native|expo|@react-native|@react-native-\w+|@expo)([/-]|$)/
const STAND_IN = 'stand-in:'
/** What the loader calls from within the app's modules. */
const REPLACED = '__adoptReplaced'
const INHERIT = '__adoptInherit'
/** As Babel reads an app's decorators and classes. */
const TSCONFIG = {
  compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false, jsx: 'react' },
}

/**
 * Return a function for each path that loads its module and returns what it exports.
 *
 * A module among `strict` fails as it is; any other that cannot be read or throws is replaced.
 */
export async function load(paths, { strict, modules, root }) {
  const library = createRequire(`${modules}/`)
  const esbuild = library('esbuild')
  const shown = (path) => relative(root, path)
  const aliased = babelAliases(root)

  const plugin = {
    name: 'app',
    setup(build) {
      build.onResolve({ filter: /.*/ }, async ({ path, importer, resolveDir, pluginData }) => {
        if (pluginData === plugin) return undefined
        if (WATERMELON.test(path)) return { path, external: true }
        const nothing = { path: STAND_IN + path, external: true }
        if (NATIVE.test(path)) return nothing
        const options = { kind: 'require-call', importer, resolveDir, pluginData: plugin }
        const meant = /^[./]/.test(path) ? [] : aliased(path)
        let found = { errors: [path] }
        for (const one of [...meant, path]) {
          if (found.errors.length) found = await build.resolve(one, options)
        }
        if (found.errors.length && isBuiltin(path)) return { path, external: true }
        if (found.errors.length || !SOURCES.some((end) => found.path.endsWith(end))) return nothing
        if (/[\\/]node_modules[\\/]/.test(found.path)) return { path: found.path, external: true }
        return { path: found.path, namespace: 'app' }
      })
      build.onLoad({ filter: /.*/, namespace: 'app' }, async ({ path }) => {
        const source = (await readFile(path, 'utf8')).replace(/^\uFEFF/, '')
        const resolveDir = dirname(path)
        const isStrict = strict.includes(path)
        try {
          const contents = path.endsWith('.json')
            ? `module.exports = ${JSON.stringify(await fromJson(source))}`
            : await toCommonJs(source, path)
          return {
            contents: isStrict
              ? `${contents}\n${INHERIT}(module.exports)`
              : guarded(contents, shown(path)),
            loader: 'js',
            resolveDir,
          }
        } catch (error) {
          if (isStrict) throw new Refusal(`${shown(path)} cannot be read: ${firstLine(error)}.`)
          return {
            contents: `module.exports = ${REPLACED}(${JSON.stringify(shown(path))}, "cannot be read")`,
            resolveDir,
          }
        }
      })
    },
  }

  /** Read JSON in which no name stands twice in an object: the first would be lost without a word. */
  async function fromJson(source) {
    const read = JSON.parse(source)
    const { warnings } = await esbuild.transform(source, { loader: 'json', logLevel: 'silent' })
    const twice = warnings.find(({ id }) => id === 'duplicate-object-key')
    if (twice) throw new SyntaxError(twice.text)
    return read
  }

  async function toCommonJs(source, path) {
    const options = {
      format: 'cjs',
      target: 'node18',
      tsconfigRaw: TSCONFIG,
      sourcefile: path,
      logLevel: 'silent',
    }
    const typed = /\.([mc]?ts|tsx)$/.exec(path)
    if (typed) {
      const loader = typed[1] === 'tsx' ? 'tsx' : 'ts'
      return (await esbuild.transform(source, { ...options, loader })).code
    }
    // Decorators are only taken where JavaScript is read as TypeScript.
    const first = /^\s*@\w/m.test(source) ? ['tsx', 'jsx'] : ['jsx', 'tsx']
    try {
      return (await esbuild.transform(source, { ...options, loader: first[0] })).code
    } catch (error) {
      const others = [
        () => esbuild.transform(source, { ...options, loader: first[1] }),
        () =>
          esbuild.transform(library('flow-remove-types')(source, { all: true }).toString(), {
            ...options,
            loader: 'tsx',
          }),
      ]
      for (const other of others) {
        const read = await Promise.resolve()
          .then(other)
          .catch(() => null)
        if (read) return read.code
      }
      throw error
    }
  }

  const entry = paths.map((path) => `() => require(${JSON.stringify(path)})`).join(',\n')
  const bundle = {
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node18',
    write: false,
    logLevel: 'silent',
  }
  let built
  try {
    built = await esbuild.build({
      ...bundle,
      stdin: { contents: `module.exports = [${entry}]`, resolveDir: root },
      absWorkingDir: root,
      resolveExtensions: EXTENSIONS,
      plugins: [plugin],
      // With Node's own rules, a folder `constants` of the app's would be Node's module of that name.
      platform: 'neutral',
      mainFields: ['main', 'module'],
      conditions: ['node'],
    })
  } catch (error) {
    const [first] = error.errors ?? []
    if (first?.detail instanceof Refusal) throw first.detail
    throw new Refusal(
      `${shown(paths[0])} cannot be read: ${firstLine(first ? { message: first.text } : error)}.`,
    )
  }

  /** What a module that could not be loaded is replaced by; a refusal is no such failure. */
  function replaced(name, error) {
    if (error instanceof Refusal) throw error
    return replace(name, typeof error === 'string' ? error : `throws ${firstLine(error)}`)
  }

  function requireHere(name) {
    if (name.startsWith(STAND_IN)) return replace(name.slice(STAND_IN.length), 'is not here')
    if (WATERMELON.test(name)) return watermelondb(name)
    if (isBuiltin(name)) return require(name)
    try {
      return library(name)
    } catch (error) {
      if (error instanceof Refusal) throw error
    }
    const [, packaged] = /.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(name) ?? [
      null,
      name,
    ]
    try {
      // What only a bundler can take: modules of another kind, without extensions, in TypeScript.
      const external = ['@nozbe/watermelondb', 'react-native', 'expo']
      const { outputFiles } = esbuild.buildSync({ ...bundle, entryPoints: [name], external })
      return evaluate(outputFiles[0].text)
    } catch (error) {
      return replaced(packaged, error)
    }
  }

  function evaluate(code) {
    const module = { exports: {} }
    const given = {
      require: requireHere,
      module,
      exports: module.exports,
      __filename: paths[0],
      __dirname: dirname(paths[0]),
      [REPLACED]: replaced,
      [INHERIT]: inherit,
    }
    vm.compileFunction(code, Object.keys(given))(...Object.values(given))
    return module.exports
  }

  catchInPackages(requireHere)
  return evaluate(built.outputFiles[0].text)
}

/** Let installed packages have the stand-ins too. */
function catchInPackages(requireHere) {
  const original = Module._load
  Module._load = (name, ...rest) => {
    if (WATERMELON.test(name)) return watermelondb(name)
    if (NATIVE.test(name)) return requireHere(STAND_IN + name)
    return original(name, ...rest)
  }
}

function guarded(code, name) {
  const directive = code.startsWith('"use strict"') ? '"use strict"; ' : ''
  const otherwise = `module.exports = ${REPLACED}(${JSON.stringify(name)}, error)`
  return `${directive}try {${code}\n${INHERIT}(module.exports) } catch (error) { ${otherwise} }`
}

export function firstLine(error) {
  const text =
    error?.errors?.[0]?.text ??
    (error instanceof Error ? `${error.name}: ${error.message}` : (error?.message ?? String(error)))
  return text.split('\n')[0].replace(/[.:]$/, '')
}
