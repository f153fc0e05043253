export * from '@acme/columns'
