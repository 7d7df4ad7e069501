/**
 * nginx as a reverse proxy with one worker and a pool of kept-alive upstream connections. Optional: skipped where it
 * is not installed.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, startServer } from "./server-process.ts";
import { findProgram, programVersion, type Subject } from "./subject.ts";

/** The subject `nginx`. */
export function nginx(): Subject {
  const program = findProgram("nginx");
  return {
    name: "nginx",
    form: "origin",
    version: program && programVersion(program, /nginx\/(\S+)/),
    absence: program ? undefined : "nginx is not installed",
    addedHeaders: [],
    start: async ({ originPort, folder }) => {
      const port = await freePort();
      const file = join(folder, "nginx.conf");
      await writeFile(file, configuration(port, originPort, folder));
      const args = ["-c", file, "-p", folder, "-e", "stderr"];
      return startServer({ name: "nginx", file: program!, args }, port);
    },
  };
}

/**
 * No access log and no limit on the requests of a connection, so that it does nothing but forward. HTTP/1.1 and an
 * empty Connection field are what its manual asks for to keep upstream connections (ngx_http_upstream_module).
 */
function configuration(port: number, originPort: number, folder: string): string {
  return `
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${folder}/nginx-body;
  proxy_temp_path ${folder}/nginx-proxy;
  fastcgi_temp_path ${folder}/nginx-fastcgi;
  uwsgi_temp_path ${folder}/nginx-uwsgi;
  scgi_temp_path ${folder}/nginx-scgi;
  keepalive_timeout 60s;
  keepalive_requests 1000000000;
  upstream origin {
    server 127.0.0.1:${originPort};
    keepalive 256;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }
  }
}
`;
}
