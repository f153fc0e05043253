/**
 * The design that this project comes from, as its document has it: NestJS, TypeORM on MySQL, Argon2, JWT,
 * profiles cached in Redis for five minutes, rows found by `updated_at_ms`, bulk writes. It is what a good
 * developer would write from that document, and no slower: no validation of records, no logs, no sessions.
 *
 * Settings: PORT, WORKERS, DATABASE_URL, REDIS_URL, JWT_SECRET.
 */
import "reflect-metadata";
import cluster from "node:cluster";
import { randomUUID } from "node:crypto";
import {
  Body, CanActivate, ConflictException, Controller, ExecutionContext, Get, HttpCode, Inject, Injectable, Module, Post,
  Query, Req, UnauthorizedException, UseGuards,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { JwtService } from "@nestjs/jwt";
import type { NestExpressApplication } from "@nestjs/platform-express";
import * as argon2 from "argon2";
import Redis from "ioredis";
import { DataSource, EntitySchema, In, MoreThan } from "typeorm";

const BATCH = 1000;
const PROFILE_S = 300;
const HASHING = { type: argon2.argon2id, memoryCost: 19456, timeCost: 2, parallelism: 1 };

const id = { type: "varchar", length: 36, primary: true } as const;
const text = { type: "text", nullable: true } as const;
const ms = { type: "bigint", transformer: { to: (value: unknown) => value, from: Number } } as const;

const UserEntity = new EntitySchema<any>({
  name: "users",
  columns: {
    id,
    email: { type: "varchar", length: 255, unique: true },
    password: { type: "varchar", length: 255 },
    name: { type: "varchar", length: 255, nullable: true },
    isActive: { type: "boolean", default: true, name: "is_active" },
    refreshToken: { ...text, name: "refresh_token" },
    lastModifiedAt: { ...ms, name: "last_modified_at" },
  },
});

const synced = {
  user_id: { type: "varchar", length: 36 },
  created_at: ms,
  updated_at: ms,
  created_at_ms: ms,
  updated_at_ms: ms,
  is_deleted: { type: "boolean", default: false },
} as const;
const indices = [{ columns: ["user_id"] }, { columns: ["updated_at_ms"] }];

const TABLES: Record<string, EntitySchema<any>> = {
  projects: new EntitySchema<any>({
    name: "projects",
    columns: { id, name: { type: "varchar", length: 255 }, description: text, ...synced },
    indices,
  }),
  tasks: new EntitySchema<any>({
    name: "tasks",
    columns: {
      id,
      title: { type: "varchar", length: 255 },
      description: text,
      is_completed: { type: "boolean", default: false },
      project_id: { type: "varchar", length: 36 },
      ...synced,
    },
    indices: [...indices, { columns: ["project_id"] }],
  }),
};

@Injectable()
class JwtGuard implements CanActivate {
  constructor(@Inject(JwtService) private jwt: JwtService) {}

  async canActivate(context: ExecutionContext) {
    const request = context.switchToHttp().getRequest();
    try {
      request.user = await this.jwt.verifyAsync(request.headers.authorization?.slice("Bearer ".length) ?? "");
    } catch {
      throw new UnauthorizedException();
    }
    return true;
  }
}

@Injectable()
class AuthService {
  constructor(@Inject(DataSource) private db: DataSource, @Inject(JwtService) private jwt: JwtService) {}

  async register(email: string, password: string) {
    const users = this.db.getRepository(UserEntity);
    if (await users.findOneBy({ email })) throw new ConflictException();
    const user = { id: randomUUID(), email, password: await argon2.hash(password, HASHING), lastModifiedAt: Date.now() };
    await users.insert(user);
    return this.tokens(user);
  }

  async login(email: string, password: string) {
    const user = await this.db.getRepository(UserEntity).findOneBy({ email });
    if (!user?.isActive || !(await argon2.verify(user.password, password))) throw new UnauthorizedException();
    return this.tokens(user);
  }

  private async tokens(user: { id: string; email: string }) {
    const payload = { sub: user.id, email: user.email };
    const accessToken = await this.jwt.signAsync(payload, { expiresIn: "1h" });
    const refreshToken = await this.jwt.signAsync(payload, { expiresIn: "7d" });
    await this.db.getRepository(UserEntity).update(user.id, { refreshToken });
    return { accessToken, refreshToken, user: { id: user.id, email: user.email } };
  }
}

@Injectable()
class UsersService {
  constructor(@Inject(DataSource) private db: DataSource, @Inject(Redis) private redis: Redis) {}

  async me(userId: string) {
    const known = await this.redis.get(`profile:${userId}`);
    if (known) return JSON.parse(known);
    const { password, refreshToken, ...profile } = await this.db.getRepository(UserEntity).findOneByOrFail({ id: userId });
    await this.redis.set(`profile:${userId}`, JSON.stringify(profile), "EX", PROFILE_S);
    return profile;
  }
}

@Injectable()
class SyncService {
  constructor(@Inject(DataSource) private db: DataSource) {}

  async pull(userId: string, since: number) {
    const timestamp = Date.now();
    const changes: Record<string, any> = {};
    for (const [name, entity] of Object.entries(TABLES)) {
      const rows = await this.db.getRepository(entity).findBy({ user_id: userId, updated_at_ms: MoreThan(since) });
      const found: Record<string, any[]> = { created: [], updated: [], deleted: [] };
      for (const { user_id, created_at_ms, updated_at_ms, is_deleted, ...record } of rows) {
        if (is_deleted) found.deleted.push(record.id);
        else found[created_at_ms > since ? "created" : "updated"].push(record);
      }
      changes[name] = found;
    }
    return { changes, timestamp };
  }

  async push(userId: string, changes: Record<string, any>) {
    const now = Date.now();
    await this.db.transaction(async (manager) => {
      for (const [name, entity] of Object.entries(TABLES)) {
        const { created = [], updated = [], deleted = [] } = changes[name] ?? {};
        const stamp = { user_id: userId, updated_at_ms: now, is_deleted: false };
        for (let at = 0; at < created.length; at += BATCH) {
          const rows = created.slice(at, at + BATCH).map((row: any) => ({ ...row, ...stamp, created_at_ms: now }));
          await manager.createQueryBuilder().insert().into(entity).values(rows).orIgnore().updateEntity(false).execute();
        }
        for (let at = 0; at < updated.length; at += BATCH) {
          const some = updated.slice(at, at + BATCH);
          const own = await manager.find(entity, {
            select: { id: true, created_at_ms: true },
            where: { id: In(some.map((row: any) => row.id)), user_id: userId },
          });
          const born = new Map(own.map((row) => [row.id, row.created_at_ms]));
          const rows = some
            .filter((row: any) => born.has(row.id))
            .map((row: any) => ({ ...row, ...stamp, created_at_ms: born.get(row.id) }));
          if (rows.length) await manager.upsert(entity, rows, { conflictPaths: ["id"] });
        }
        if (deleted.length)
          await manager.update(entity, { id: In(deleted), user_id: userId }, { is_deleted: true, updated_at_ms: now });
      }
      await manager.update(UserEntity, userId, { lastModifiedAt: now });
    });
    return { success: true };
  }
}

@Controller("v1/auth")
class AuthController {
  constructor(@Inject(AuthService) private auth: AuthService) {}

  @Post("register")
  register(@Body() body: any) {
    return this.auth.register(body.email, body.password);
  }

  @Post("login")
  @HttpCode(200)
  login(@Body() body: any) {
    return this.auth.login(body.email, body.password);
  }
}

@Controller("v1/users")
@UseGuards(JwtGuard)
class UsersController {
  constructor(@Inject(UsersService) private users: UsersService) {}

  @Get("me")
  me(@Req() request: any) {
    return this.users.me(request.user.sub);
  }
}

@Controller("v1/sync")
@UseGuards(JwtGuard)
class SyncController {
  constructor(@Inject(SyncService) private sync: SyncService) {}

  @Get()
  pull(@Req() request: any, @Query("last_pulled_at") since?: string) {
    return this.sync.pull(request.user.sub, Number(since) || 0);
  }

  @Post()
  @HttpCode(200)
  push(@Req() request: any, @Body() body: any) {
    return this.sync.push(request.user.sub, body.changes ?? body);
  }
}

@Controller("healthz")
class HealthController {
  @Get()
  health() {
    return {};
  }
}

async function serve() {
  const { PORT, DATABASE_URL, REDIS_URL, JWT_SECRET, WORKER } = process.env as Record<string, string>;
  const db = new DataSource({ type: "mysql", url: DATABASE_URL, entities: [UserEntity, ...Object.values(TABLES)] });
  await db.initialize();
  if (WORKER === "0") await db.synchronize();

  @Module({
    controllers: [AuthController, UsersController, SyncController, HealthController],
    providers: [
      AuthService, UsersService, SyncService, JwtGuard,
      { provide: DataSource, useValue: db },
      { provide: Redis, useValue: new Redis(REDIS_URL) },
      { provide: JwtService, useValue: new JwtService({ secret: JWT_SECRET }) },
    ],
  })
  class AppModule {}

  const app = await NestFactory.create<NestExpressApplication>(AppModule, { logger: ["error"] });
  app.useBodyParser("json", { limit: "64mb" });
  app.getHttpServer().keepAliveTimeout = 75_000;
  await app.listen(Number(PORT), "127.0.0.1");
}

if (cluster.isPrimary) {
  // The first one makes the tables.
  cluster.fork({ WORKER: "0" }).on("listening", () => {
    for (let at = 1; at < Number(process.env.WORKERS); at += 1) cluster.fork({ WORKER: String(at) });
  });
} else {
  void serve();
}
