/** What JupyterHub's own pages expect of their frame, given as attributes instead of inline code. */
interface RequireJs {
  config(options: Record<string, unknown>): void;
}

declare global {
  interface Window {
    api_page_limit?: number;
    base_url?: string;
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

// The page of administration reads these two.
window.api_page_limit = Number(data.pageLimit);
window.base_url = data.baseUrl ?? "";

// Some pages have none; the types of the tests' tools say that there always is one.
(window.require as RequireJs | undefined)?.config({
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
