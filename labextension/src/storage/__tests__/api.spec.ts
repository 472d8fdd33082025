import { ServerConnection } from "@jupyterlab/services";
import { nullTranslator } from "@jupyterlab/translation";

import { StorageApi, StorageError } from "../api";

const SILENT = "The session does not answer. It is asked again by itself.";

describe("StorageApi", () => {
  const api = new StorageApi(nullTranslator.load("canfar_lab"));

  /** Ask something that is answered so; gives the error. */
  async function refused(status: number, body: string): Promise<StorageError> {
    vi.spyOn(ServerConnection, "makeRequest").mockResolvedValue(new Response(body, { status }));
    const error: unknown = await api.job("j1").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StorageError);
    return error as StorageError;
  }

  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each([
    [424, '{"message": "JupyterHub server no longer running at /user/ada/."}'],
    [502, "<html>Bad gateway</html>"],
    [503, "<html>Your server appears to be down.</html>"],
    [504, ""],
  ])("takes a %s of the hub for a session that is away", async (status, body) => {
    const error = await refused(status, body);
    expect(error.code).toBe("away");
    expect(error.message).toBe(SILENT);
  });

  it.each([
    [504, "away", "The file system of a.fits does not answer; try again later."],
    [503, "failed", "Something went wrong in the session's server; its log has what."],
    [409, "exists", "a.fits exists already; choose another name."],
  ])("believes the session's server, also with a %s", async (status, code, message) => {
    const error = await refused(status, JSON.stringify({ code, message, names: ["a.fits"] }));
    expect(error.code).toBe(code);
    expect(error.message).toBe(message);
    expect(error.body.names).toEqual(["a.fits"]);
  });

  it("takes another refusal without a code for a failure", async () => {
    const error = await refused(500, "<html>Internal error</html>");
    expect(error.code).toBe("failed");
    expect(error.message).toBe("The session could not do it (500).");
  });

  it("says that nothing answers", async () => {
    vi.spyOn(ServerConnection, "makeRequest").mockRejectedValue(new TypeError("no network"));
    await expect(api.job("j1")).rejects.toMatchObject({ code: "unreachable", message: SILENT });
  });
});
