// java.net.http with its default client, with nothing said about a proxy.

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;

public final class JavaHttpClient {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    /** One line: what was done, the status, and the hash of the body that came back. */
    private static void call(String what, HttpRequest request) throws Exception {
        HttpResponse<byte[]> response = CLIENT.send(request, BodyHandlers.ofByteArray());
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(response.body());
        System.out.println(what + " " + response.statusCode() + " " + HexFormat.of().formatHex(hash));
    }

    private static HttpRequest get(String url) {
        return HttpRequest.newBuilder(URI.create(url)).build();
    }

    private static HttpRequest post(String url, BodyPublisher body) {
        return HttpRequest.newBuilder(URI.create(url)).POST(body).build();
    }

    public static void main(String[] args) throws Exception {
        String governed = args[0], blind = args[1], plain = args[2];
        byte[] content = Files.readAllBytes(Path.of(args[3]));
        call("get", get(governed + "/bytes"));
        call("post", post(governed + "/echo", BodyPublishers.ofByteArray(content)));
        InputStream stream = new ByteArrayInputStream(content);
        call("stream", post(governed + "/echo", BodyPublishers.ofInputStream(() -> stream)));
        call("plain", get(plain + "/bytes"));
        call("blind", get(blind + "/bytes"));
    }
}
