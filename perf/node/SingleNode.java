import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;

import org.codelibs.opensearch.runner.OpenSearchRunner;
import org.opensearch.http.HttpServerTransport;

/**
 * One OpenSearch node on the loopback address, until SIGTERM, or until its standard input ends if it is "held".
 *
 * <p>Arguments: FOLDER PORT held|free [setting=value ...]. FOLDER/url holds the address while the node is ready,
 * FOLDER/failure why it has not started.
 */
public final class SingleNode {
    private static final List<String> DEFAULTS = List.of(
            "network.host=127.0.0.1",
            "transport.port=0",
            "discovery.type=single-node",
            "cluster.routing.allocation.disk.threshold_enabled=false");

    private final OpenSearchRunner runner = new OpenSearchRunner();
    private final Path url;

    private SingleNode(final Path folder) {
        this.url = folder.resolve("url");
    }

    public static void main(final String[] args) throws Exception {
        final Path folder = Path.of(args[0]).toAbsolutePath();
        final List<String> settings = new ArrayList<>(DEFAULTS);
        settings.add("http.port=" + args[1]);
        settings.addAll(List.of(args).subList(3, args.length));
        if (args[2].equals("held")) {
            endWithInput();
        }
        final SingleNode node = new SingleNode(folder);
        Runtime.getRuntime().addShutdownHook(new Thread(node::close));
        try {
            node.start(folder, settings);
        } catch (final Throwable failure) {
            Throwable root = failure;
            while (root.getCause() != null) {
                root = root.getCause();
            }
            failure.printStackTrace();
            Files.writeString(folder.resolve("failure"), root.toString());
            System.exit(1);
        }
        new CountDownLatch(1).await();
    }

    /** Whoever started it holds the other end: when that process is gone, however it went, so is the node. */
    private static void endWithInput() {
        final Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    continue;
                }
            } catch (final IOException ended) {
                // as good as its end
            }
            System.exit(0);
        });
        watch.setDaemon(true);
        watch.start();
    }

    private void start(final Path folder, final List<String> given) throws IOException {
        runner.setMaxHttpPort(-1); // the runner counts ports up from a base of its own; http.port decides
        runner.onBuild((number, settings) -> {
            for (final String setting : given) {
                final int sign = setting.indexOf('=');
                settings.put(setting.substring(0, sign), setting.substring(sign + 1));
            }
        });
        runner.build(
                "-clusterName", "trio-relay",
                "-numOfNode", "1",
                "-basePath", folder.toString(),
                "-confPath", folder.resolve("config").toString(),
                "-dataPath", folder.resolve("data").toString(),
                "-logsPath", folder.resolve("logs").toString());
        runner.ensureYellow();
        final int port = runner.node().injector().getInstance(HttpServerTransport.class)
                .boundAddress().publishAddress().getPort();
        final Path whole = Files.writeString(url.resolveSibling("url.new"), "http://127.0.0.1:" + port);
        Files.move(whole, url, StandardCopyOption.ATOMIC_MOVE);
    }

    private void close() {
        try {
            Files.deleteIfExists(url);
            runner.close();
        } catch (final IOException failure) {
            failure.printStackTrace();
        }
    }
}
