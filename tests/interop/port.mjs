import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/** A port that is free now. It is below those that systems choose for connections, so none takes it meanwhile. */
export async function freePort() {
  for (;;) {
    const port = randomInt(10_000, 30_000);
    const server = createServer();
    const listens = await new Promise((resolve) => {
      server.on("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (listens) {
      await new Promise((closed) => server.close(closed));
      return port;
    }
  }
}
