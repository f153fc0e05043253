// An app of the tables that TABLES, as JSON, describes: schema and bare models for devices.js. Its older version
// had every other table, and of those every other column.

const { appSchema, tableSchema, Model } = require('@nozbe/watermelondb')
const { addColumns, createTable, schemaMigrations } = require('@nozbe/watermelondb/Schema/migrations')

const tables = JSON.parse(process.env.TABLES)
const isOlder = (_, place) => place % 2 === 0
const older = tables.filter(isOlder).map(({ name, columns }) => ({ name, columns: columns.filter(isOlder) }))

const app = (version, tables, migrations) => ({
  schema: appSchema({ version, tables: tables.map(tableSchema) }),
  migrations: schemaMigrations({ migrations }),
  modelClasses: tables.map(
    ({ name }) =>
      class extends Model {
        static table = name
      },
  ),
})

const steps = tables.flatMap(({ name, columns }, place) => {
  if (!isOlder(null, place)) return [createTable({ name, columns })]
  const added = columns.filter((_, at) => !isOlder(null, at))
  return added.length ? [addColumns({ table: name, columns: added })] : []
})

module.exports = { ...app(2, tables, [{ toVersion: 2, steps }]), older: app(1, older, []) }
