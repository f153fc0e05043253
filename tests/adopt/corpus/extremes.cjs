// The longest and the shortest names, the widest and the narrowest tables, and names that only nearly collide.
const { appSchema, tableSchema } = require('@nozbe/watermelondb')

const long = (end, length = 300) => 'a_long_name_'.repeat(40).slice(0, length - end.length) + end
const string = (name) => ({ name, type: 'string', isOptional: true })

module.exports = appSchema({
  version: 2147483647,
  tables: [
    tableSchema({ name: 'nothing', columns: [] }),
    tableSchema({ name: 'a', columns: [{ name: 'b', type: 'boolean' }] }),
    tableSchema({ name: '_', columns: [string('_'), string('_1'), string('_a'), string('a')] }),
    tableSchema({
      name: long('one'),
      columns: [string(long('one')), string(long('two')), string(long('x', 64)), string(long('x', 65)), string(long('Id', 70))],
    }),
    tableSchema({ name: long('two'), columns: [{ name: 'a_id', type: 'string', isIndexed: true, isOptional: true }] }),
    tableSchema({ name: 'createdAt', columns: [string('createdAt'), string('HTMLBody'), string('html_body'), string('user_id_'), string('user_id')] }),
    tableSchema({ name: 'created_at', columns: [{ name: 'createdAt', type: 'number' }, { name: 'created_at', type: 'number' }] }),
    tableSchema({
      name: 'wide',
      columns: Array.from({ length: 180 }, (_, n) => ({ name: `c${n}`, type: ['string', 'number', 'boolean'][n % 3] })),
    }),
    tableSchema({
      name: 'server_words',
      columns: ['user_id', 'space_id', 'created_at_ms', 'updated_at_ms', 'is_deleted', 'created_by', 'metadata', 'query', 'columns', 'str'].map(string),
    }),
    ...['users', 'sessions', 'app_users', 'spaces', 'alembic_version', 'Group', 'order'].map((name) =>
      tableSchema({ name, columns: [string('name'), string('users_id')] }),
    ),
  ],
})
