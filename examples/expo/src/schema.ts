// Written by make client-schema FORMAT=ts. Commit client/schema.json with it: the next one goes on from there.
import { appSchema, Model, tableSchema } from '@nozbe/watermelondb'
import { addColumns, schemaMigrations } from '@nozbe/watermelondb/Schema/migrations'
import { children, date, field, readonly, relation, text } from '@nozbe/watermelondb/decorators'
import type { Query, Relation } from '@nozbe/watermelondb'

export const schema = appSchema({
  version: 2,
  tables: [
    tableSchema({
      name: 'projects',
      columns: [
        { name: 'name', type: 'string' },
        { name: 'description', type: 'string', isOptional: true },
        { name: 'created_at', type: 'number' },
        { name: 'updated_at', type: 'number' },
        { name: 'space_id', type: 'string', isOptional: true },
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
export const migrations = schemaMigrations({ migrations: [
  {
    toVersion: 2,
    steps: [
      addColumns({
        table: 'projects',
        columns: [
          { name: 'space_id', type: 'string', isOptional: true },
        ],
      }),
    ],
  },
] })

export class Project extends Model {
  static table = 'projects'
  static associations = { tasks: { type: 'has_many', foreignKey: 'project_id' } } as const

  @text('name') name!: string
  @text('description') description!: string | null
  @readonly @date('created_at') createdAt!: Date
  @readonly @date('updated_at') updatedAt!: Date
  @text('space_id') spaceId!: string | null
  @children('tasks') tasks!: Query<Task>
}

export class Task extends Model {
  static table = 'tasks'
  static associations = { projects: { type: 'belongs_to', key: 'project_id' } } as const

  @text('title') title!: string
  @text('description') description!: string | null
  @field('is_completed') isCompleted!: boolean
  @text('project_id') projectId!: string
  @readonly @date('created_at') createdAt!: Date
  @readonly @date('updated_at') updatedAt!: Date
  @relation('projects', 'project_id') project!: Relation<Project>
}

export const modelClasses = [Project, Task]
