// Written by make client-schema. Commit client/schema.json with it: the next one goes on from there.
import { appSchema, Model, tableSchema } from '@nozbe/watermelondb'
import { schemaMigrations } from '@nozbe/watermelondb/Schema/migrations'
import { children, date, field, readonly, relation, text } from '@nozbe/watermelondb/decorators'

export const schema = appSchema({
  version: 1,
  tables: [
    tableSchema({
      name: 'projects',
      columns: [
        { name: 'name', type: 'string' },
        { name: 'description', type: 'string', isOptional: true },
        { name: 'created_at', type: 'number' },
        { name: 'updated_at', type: 'number' },
      ],
    }),
    tableSchema({
      name: 'tasks',
      columns: [
        { name: 'title', type: 'string' },
        { name: 'description', type: 'string', isOptional: true },
        { name: 'is_completed', type: 'boolean' },
        { name: 'project_id', type: 'string', isIndexed: true },
        { name: 'created_at', type: 'number' },
        { name: 'updated_at', type: 'number' },
      ],
    }),
  ],
})

// Migration syncs (migrationsEnabledAtVersion) need them, even while there are none.
export const migrations = schemaMigrations({ migrations: [] })

export class Project extends Model {
  static table = 'projects'
  static associations = { tasks: { type: 'has_many', foreignKey: 'project_id' } }

  @text('name') name
  @text('description') description
  @readonly @date('created_at') createdAt
  @readonly @date('updated_at') updatedAt
  @children('tasks') tasks
}

export class Task extends Model {
  static table = 'tasks'
  static associations = { projects: { type: 'belongs_to', key: 'project_id' } }

  @text('title') title
  @text('description') description
  @field('is_completed') isCompleted
  @text('project_id') projectId
  @readonly @date('created_at') createdAt
  @readonly @date('updated_at') updatedAt
  @relation('projects', 'project_id') project
}

export const modelClasses = [Project, Task]
