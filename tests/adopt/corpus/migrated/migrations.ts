import { addColumns, createTable, schemaMigrations, unsafeExecuteSql } from '@nozbe/watermelondb/Schema/migrations'

export default schemaMigrations({
  migrations: [
    {
      toVersion: 3,
      steps: [
        addColumns({ table: 'lists', columns: [{ name: 'color', type: 'string', isOptional: true }] }),
        unsafeExecuteSql("update lists set color = 'red';"),
      ],
    },
    { toVersion: 2, steps: [createTable({ name: 'items', columns: [{ name: 'list_id', type: 'string', isIndexed: true }] })] },
  ],
})
