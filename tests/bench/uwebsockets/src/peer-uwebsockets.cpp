// uWebSockets' echo server, as its examples/EchoServer.cpp has it, with compression off.
//
// Sends within a callback are corked: the replies to all that one read brought leave together. The
// UTF-8 of Text messages is checked, TCP_NODELAY is always on; heartbeat and timeouts keep their
// defaults.

#include "App.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

struct Arguments {
    std::string host = "127.0.0.1";
    int port = 0;
    unsigned max_message = 16 << 20;
};

static Arguments parse(int argc, char **argv) {
    Arguments parsed;
    for (int i = 1; i < argc; i += 2) {
        std::string_view name = argv[i];
        std::string value = i + 1 < argc ? argv[i + 1] : "";
        size_t colon = value.rfind(':');
        if (name == "--listen" && colon != std::string::npos) {
            parsed.host = value.substr(0, colon);
            parsed.port = std::atoi(value.c_str() + colon + 1);
        } else if (name == "--max-message" && !value.empty()) {
            parsed.max_message = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
        } else {
            std::fprintf(stderr, "peer-uwebsockets [--listen HOST:PORT] [--max-message BYTES]\n");
            std::exit(2);
        }
    }
    return parsed;
}

int main(int argc, char **argv) {
    struct PerSocketData {};
    Arguments arguments = parse(argc, argv);
    bool listens = false;

    uWS::App().ws<PerSocketData>("/*", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = arguments.max_message,
        // No limit: beyond it replies are dropped, and a generator awaits every one.
        .maxBackpressure = 0,
        .message = [](auto *ws, std::string_view message, uWS::OpCode opcode) {
            ws->send(message, opcode);
        },
    }).listen(arguments.host, arguments.port, [&](us_listen_socket_t *socket) {
        if (socket) {
            int port = us_socket_local_port(0, reinterpret_cast<us_socket_t *>(socket));
            std::printf("listening on ws://%s:%d/\n", arguments.host.c_str(), port);
            std::fflush(stdout);
            listens = true;
        }
    }).run();

    // Without a listener the loop has nothing to wait for.
    return listens ? 0 : 1;
}
