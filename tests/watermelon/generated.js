// What `make client-schema` wrote, bundled as argv[2], in the hands of the real client: one device
// makes a project and a task with the models and pushes them, another pulls and reads them.

const { openDatabase } = require('./database')
const { mySync } = require('./snippet')
const app = require(process.argv[2])

console.log = console.info = console.debug = () => {}

async function main() {
  const [one, other] = [openDatabase('one', app), openDatabase('other', app)]
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
