// An app of the tables that TABLES, as JSON, describes: schema and bare models for devices.js.

const { appSchema, tableSchema, Model } = require('@nozbe/watermelondb')
const { schemaMigrations } = require('@nozbe/watermelondb/Schema/migrations')

const tables = JSON.parse(process.env.TABLES)

module.exports = {
  schema: appSchema({ version: 1, tables: tables.map(tableSchema) }),
  migrations: schemaMigrations({ migrations: [] }),
  modelClasses: tables.map(
    ({ name }) =>
      class extends Model {
        static table = name
      },
  ),
}
