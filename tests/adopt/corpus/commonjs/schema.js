const { appSchema, tableSchema } = require('@nozbe/watermelondb')

module.exports = appSchema({
  version: 1,
  tables: [tableSchema({ name: 'books', columns: [{ name: 'title', type: 'string' }, { name: 'isbn', type: 'string', isIndexed: true }] })],
})
