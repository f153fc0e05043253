// The printed schemas of argv[2], a bundle, in the hands of the real client. `schemas()` starts a database of
// each; `migrate(from, to, row)` starts one, writes, and starts it again with what was printed later.

const { encodeMigrationSteps, encodeSchema } = require('@nozbe/watermelondb/adapters/sqlite/encodeSchema')
const { Model } = require('@nozbe/watermelondb')
const { stepsForMigration } = require('@nozbe/watermelondb/Schema/migrations/stepsForMigration')
const { LokiMemoryAdapter } = require('lokijs')

const { openDatabase } = require('../watermelon/database')

const apps = process.argv[2] === '-' ? {} : require(process.argv[2])
const quiet = () => {}
console.log = console.info = console.debug = console.warn = quiet

async function open(app, name, storage) {
  const database = openDatabase(name, app, storage)
  await database.adapter.underlyingAdapter.initializingPromise
  return database
}

const columns = ({ columnArray }) =>
  columnArray.map(({ name, type, isOptional = false, isIndexed = false }) => ({ name, type, isOptional, isIndexed }))

const canonical = (step) =>
  step.type === 'create_table'
    ? { type: step.type, name: step.schema.name, columns: columns(step.schema) }
    : step.type === 'add_columns'
      ? { type: step.type, table: step.table, columns: columns({ columnArray: step.columns }) }
      : step

const calls = {
  async schemas() {
    const found = {}
    for (const [name, app] of Object.entries(apps)) {
      const database = await open(app, name, new LokiMemoryAdapter())
      await database.write(async () => {
        for (const { table } of app.modelClasses) {
          const record = await database.get(table).create(quiet)
          // Every member of it can be read.
          const members = Object.getOwnPropertyNames(Object.getPrototypeOf(record))
          members.filter((member) => member !== 'constructor').forEach((member) => record[member])
        }
      })
      found[name] = {
        version: app.schema.version,
        tables: Object.values(app.schema.tables).map((table) => ({ name: table.name, columns: columns(table) })),
        migrations: app.migrations.sortedMigrations.map(({ toVersion, steps }) => ({ toVersion, steps: steps.map(canonical) })),
      }
    }
    return found
  },

  async migrate(from, to, table, values) {
    const storage = new LokiMemoryAdapter()
    const before = await open(apps[from], 'one', storage)
    await before.write(() => before.get(table).create((record) => Object.assign(record._raw, values)))
    await new Promise((done) => before.adapter.underlyingAdapter._driver.loki.saveDatabase(done))
    const after = await open(apps[to], 'one', storage)
    const steps = stepsForMigration({
      migrations: apps[to].migrations,
      fromVersion: apps[from].schema.version,
      toVersion: apps[to].schema.version,
    })
    return {
      rows: (await after.get(table).query().fetch()).map((record) => record._raw),
      tables: Object.keys(apps[to].schema.tables).filter((name) => after.adapter.underlyingAdapter._driver.loki.getCollection(name)),
      sql: [encodeSchema(apps[from].schema), encodeMigrationSteps(steps), encodeSchema(apps[to].schema)],
    }
  },

  async members(app) {
    const database = await open(apps[app], app, new LokiMemoryAdapter())
    const [posts, comments, people] = ['posts', 'comments', 'people'].map((table) => database.get(table))
    return database.write(async () => {
      const ann = await people.create(quiet)
      const bob = await people.create((person) => person.parent.set(ann))
      const post = await posts.create((made) => {
        made.comments = 7
        made.collectionColumn = 'all'
        made.updateColumn = 'later'
        made.getColumn = 'got'
        made.createdAtColumn = 'said'
        made.meta = { a: [1] }
        made.authorRecord.set(ann)
      })
      const shown = await comments.create((made) => {
        made.post.set(post)
        made.authorRecord.set(bob)
      })
      const hidden = await comments.create((made) => made.hiddenInRecord.set(post))
      const names = new Map([[bob.id, 'bob'], [shown.id, 'shown'], [hidden.id, 'hidden']])
      const found = async (query) => (await query.fetch()).map((record) => names.get(record.id))
      const { comments: count, collectionColumn, updateColumn, getColumn, createdAtColumn, meta } = post
      await post.update((changed) => {
        changed.updatedAtColumn = 'again'
      })
      return {
        values: [count, collectionColumn, updateColumn, getColumn, createdAtColumn, meta],
        isDate: post.createdAt instanceof Date && post.createdAt.getTime() > 0,
        author: (await post.authorRecord.fetch()).id === ann.id,
        shown: await found(post.commentsByPost),
        hidden: await found(post.commentsByHiddenIn),
        people: await found(ann.people),
        comments: await found(bob.comments),
        parent: (await bob.parent.fetch()).id === ann.id,
      }
    })
  },

  async own() {
    const record = Object.getOwnPropertyNames(new Model({}, {}))
    return [...record, ...Object.getOwnPropertyNames(Model.prototype), ...Object.getOwnPropertyNames(Object.prototype)]
  },
}

const [call, ...args] = JSON.parse(process.argv[3])
calls[call](...args).then((result) => process.stdout.write(JSON.stringify(result)))
