import { appSchema, tableSchema } from '@nozbe/watermelondb/Schema'
import { ColumnName, FLAGS, TableName } from '@db/names'
import { schema as version } from '@db/version.json'
import { flag, timestamps } from '~columns'
import { extra } from 'src/db/platform'

export default {
  app: appSchema({
    version,
    tables: [
      tableSchema({ name: TableName.Notebooks, columns: [...timestamps.columns] }),
      tableSchema({
        name: TableName.Notes,
        columns: [
          { name: ColumnName.NotebookId, type: 'string', isIndexed: true },
          { name: ColumnName.Body, type: 'string' },
          ...FLAGS.map(flag),
          ...extra,
          ...timestamps.columns,
        ],
      }),
    ],
  }),
}
