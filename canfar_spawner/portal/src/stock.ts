/** What JupyterHub's own pages expect of their frame, given as attributes instead of inline code. */
interface RequireJs {
  config(options: Record<string, unknown>): void;
}

declare global {
  interface Window {
    jhdata?: Record<string, unknown>;
    require?: RequireJs;
  }
}

const data = document.currentScript?.dataset ?? {};

window.jhdata = {
  base_url: data.baseUrl,
  prefix: data.prefix,
  ...(data.user ? { user: data.user } : {}),
  admin_access: data.adminAccess === "true",
  options_form: data.optionsForm === "true",
  xsrf_token: data.xsrf,
};

window.require?.config({
  ...(data.version ? { urlArgs: `v=${data.version}` } : {}),
  baseUrl: data.scriptBase,
  paths: {
    components: "../components",
    jquery: "../components/jquery/dist/jquery.min",
    "js-sha256": "../components/js-sha256/build/sha256.min",
    moment: "../components/moment/moment",
  },
});

export {};
