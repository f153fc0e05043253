// What stands in the place of anything that cannot be resolved here: react-native, an image, a missing file.
//
// It can be called, constructed, extended, spread and read without end, so that a module that merely
// imports it loads. Whatever is made of it can be told: `origin` names the import that a value came from.
'use strict'

const ORIGIN = Symbol('origin')
/** No name that an app could mean has it. */
const MARK = '\u0000'

const known = new Map()
/** The imports that were replaced, and why. */
const replaced = new Map()

/** Return the stand-in of that name, always the same one. */
function standIn(path) {
  if (!known.has(path)) known.set(path, make(path))
  return known.get(path)
}

function make(path) {
  const own = new Map()
  const read = (key) => {
    if (key === ORIGIN) return path
    if (own.has(key)) return own.get(key)
    if (key === '__esModule') return true
    if (key === 'default' || (typeof key === 'string' && key.includes(MARK))) return self
    if (key === 'prototype') return target.prototype
    if (key === 'toString' || key === 'toJSON') return () => marked(path)
    if (key === Symbol.toPrimitive) return (hint) => (hint === 'number' ? NaN : marked(path))
    // Spread into a list it must be found there again: an empty list would lose columns in silence.
    if (key === Symbol.iterator) return () => [self, self, self][Symbol.iterator]()
    if (key === Symbol.hasInstance) return () => false
    if (key === 'then' || typeof key === 'symbol') return undefined
    return standIn(`${path}.${key}`)
  }
  function target() {}
  const self = new Proxy(target, {
    get: (_, key) => read(key),
    set: (_, key, value) => Boolean(own.set(key, value)),
    has: () => true,
    apply: () => standIn(`${path}()`),
    construct: (_, args, made) =>
      made === self ? standIn(`${path}()`) : Object.create(made.prototype),
    // The bundler copies a module's own names and inherits the others.
    getPrototypeOf: () => new Proxy({}, { get: (_, key) => read(key) }),
    ownKeys: () => ['prototype', marked(path)],
    getOwnPropertyDescriptor: (_, key) =>
      key === 'prototype'
        ? Reflect.getOwnPropertyDescriptor(target, key)
        : { value: read(key), configurable: true, enumerable: true, writable: true },
  })
  return self
}

const marked = (path) => MARK + path + MARK

/** Name the import that a value was made of, or return null. */
function origin(value) {
  if (typeof value === 'string') return value.includes(MARK) ? value.split(MARK)[1] : null
  if (typeof value === 'function') return value[ORIGIN] ?? null
  return null
}

/** Return the stand-in of an import, and remember that it was needed. */
function replace(name, why) {
  if (!replaced.has(name)) replaced.set(name, why)
  return standIn(name)
}

/** Let a module that passes on all of a stand-in's names (`export *`) have every name too. */
function inherit(exports) {
  const source = Object.keys(Object(exports)).find((key) => key.includes(MARK))
  if (source) Object.setPrototypeOf(exports, Object.getPrototypeOf(standIn(origin(source))))
}

module.exports = { standIn, inherit, origin, replace, replaced, MARK }
