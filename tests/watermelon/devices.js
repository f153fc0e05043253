// Real WatermelonDB devices, told what to do by JSON lines on standard input:
// {"device": name, "call": name, "args": [...]} is answered by {"result": …} or {"error": message}.

const readline = require('node:readline')

// What WatermelonDB says while it works. An error of its own about sync is a finding.
const diagnostics = []
for (const level of ['error', 'warn']) {
  console[level] = (...words) => diagnostics.push(words.map(String).join(' '))
}
console.log = console.info = console.debug = () => {}

const { Database } = require('@nozbe/watermelondb')
const { hasUnsyncedChanges } = require('@nozbe/watermelondb/sync')
const LokiJSAdapter = require('@nozbe/watermelondb/adapters/lokijs').default
const { schema, migrations, modelClasses } = require('./schema')
const { mySync } = require('./snippet')

const devices = new Map()

class Device {
  constructor(name) {
    const adapter = new LokiJSAdapter({
      schema,
      migrations,
      dbName: name,
      useWebWorker: false,
      useIncrementalIndexedDB: true,
      extraLokiOptions: { autosave: false },
    })
    this.database = new Database({ adapter, modelClasses })
  }

  signIn(token) {
    this.token = token
  }

  /** Carry out [operation, table, id, values] in one transaction, as an app would through models. */
  async write(operations) {
    const { database } = this
    await database.write(async () => {
      const prepared = []
      for (const [operation, table, id, values] of operations) {
        const collection = database.get(table)
        if (operation === 'create') {
          prepared.push(
            collection.prepareCreate((record) => {
              if (id) record._raw.id = id
              for (const [column, value] of Object.entries(values)) record._setRaw(column, value)
            }),
          )
        } else {
          const record = await collection.find(id)
          prepared.push(
            operation === 'delete'
              ? record.prepareMarkAsDeleted()
              : record.prepareUpdate(() => {
                  for (const [column, value] of Object.entries(values)) record._setRaw(column, value)
                }),
          )
        }
      }
      await database.batch(prepared)
    })
  }

  async sync() {
    await mySync(this.database, this.token)
  }

  async unsynced() {
    return hasUnsyncedChanges({ database: this.database })
  }

  /** Every live record, {table: {id: raw}}. */
  async dump() {
    const all = {}
    for (const { table } of modelClasses) {
      const records = await this.database.get(table).query().fetch()
      all[table] = Object.fromEntries(records.map((record) => [record.id, { ...record._raw }]))
    }
    return all
  }
}

async function answer({ device, call, args }) {
  if (call === 'diagnostics') return diagnostics.splice(0)
  if (!devices.has(device)) devices.set(device, new Device(device))
  return devices.get(device)[call](...args)
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let reply
    try {
      reply = { result: (await answer(JSON.parse(line))) ?? null }
    } catch (error) {
      reply = { error: String(error && error.message) }
    }
    process.stdout.write(JSON.stringify(reply) + '\n')
  }
  process.exit(0)
}

main()
