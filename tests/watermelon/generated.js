// What `make client-schema` wrote, bundled as argv[2], in the hands of the real client: one device
// makes a project and a task with the models and pushes them, another pulls and reads them.

const { Database } = require('@nozbe/watermelondb')
const LokiJSAdapter = require('@nozbe/watermelondb/adapters/lokijs').default
const { mySync } = require('./snippet')
const { schema, migrations, modelClasses } = require(process.argv[2])

console.log = console.info = console.debug = () => {}

function device(name) {
  const adapter = new LokiJSAdapter({
    schema,
    migrations,
    dbName: name,
    useWebWorker: false,
    useIncrementalIndexedDB: true,
    extraLokiOptions: { autosave: false },
  })
  return new Database({ adapter, modelClasses })
}

async function main() {
  const [one, other] = [device('one'), device('other')]
  await one.write(async () => {
    const project = await one.get('projects').create((p) => {
      p.name = 'Garden'
    })
    await one.get('tasks').create((t) => {
      t.title = 'Water the melons'
      t.isCompleted = true
      t.project.set(project)
    })
  })
  await mySync(one, process.env.TOKEN)
  await mySync(other, process.env.TOKEN)
  const [task] = await other.get('tasks').query().fetch()
  const project = await task.project.fetch()
  const [child] = await project.tasks.fetch()
  process.stdout.write(
    JSON.stringify({
      title: child.title,
      description: child.description,
      isCompleted: child.isCompleted,
      isDate: child.createdAt instanceof Date && child.createdAt.getTime() > 0,
      project: project.name,
    }),
  )
}

main()
