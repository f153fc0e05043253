// A WatermelonDB in memory, as every device of the tests has one.

const { Database } = require('@nozbe/watermelondb')
const LokiJSAdapter = require('@nozbe/watermelondb/adapters/lokijs').default

/** `storage`: of lokijs, in which a database is found again. */
function openDatabase(name, { schema, migrations, modelClasses }, storage) {
  const adapter = new LokiJSAdapter({
    schema,
    migrations,
    dbName: name,
    useWebWorker: false,
    useIncrementalIndexedDB: true,
    extraLokiOptions: { autosave: false, ...(storage && { adapter: storage }) },
  })
  return new Database({ adapter, modelClasses })
}

module.exports = { openDatabase }
