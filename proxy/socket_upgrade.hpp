// What an exchange that opens a WebSocket remembers of its own handshake with the upstream.
#pragma once

#include <string>
#include <vector>

namespace kw::proxy {

struct socket_upgrade {
    std::string accept;                  // our answer to the client's key
    std::string key;                     // ours, of the try under way
    std::vector<std::string> protocols;  // the client's offer, without its credential
    std::string lines;                   // of the handshake's headers towards the upstream
    std::string chosen;                  // the upstream's choice; "": none
};

}  // namespace kw::proxy
