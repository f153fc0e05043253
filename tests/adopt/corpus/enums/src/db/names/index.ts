export enum TableName {
  Notebooks = 'notebooks',
  Notes = 'notes',
}
export const enum ColumnName {
  NotebookId = 'notebook_id',
  Body = 'body',
}
export const FLAGS = ['is_pinned', 'is_archived', 'is_locked'] as const
