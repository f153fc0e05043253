// A WatermelonDB in memory, as every device of the tests has one.

const { Database } = require('@nozbe/watermelondb')
const LokiJSAdapter = require('@nozbe/watermelondb/adapters/lokijs').default

function openDatabase(name, { schema, migrations, modelClasses }) {
  const adapter = new LokiJSAdapter({
    schema,
    migrations,
    dbName: name,
    useWebWorker: false,
    useIncrementalIndexedDB: true,
    extraLokiOptions: { autosave: false },
  })
  return new Database({ adapter, modelClasses })
}

module.exports = { openDatabase }
