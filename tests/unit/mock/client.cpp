// The raw client of the mock's tests.
#include "tests/unit/mock/client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace kw::mock::test {

client::client(std::uint16_t port, bool tls) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    good_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    if (!good_ || !tls) return;
    context_ = SSL_CTX_new(TLS_client_method());
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    good_ = SSL_connect(ssl_) == 1;
}

client::~client() {
    if (ssl_) SSL_free(ssl_);
    if (context_) SSL_CTX_free(context_);
    ::close(fd_);
}

bool client::send(std::string_view bytes) {
    while (!bytes.empty()) {
        std::size_t put = 0;
        if (ssl_) {
            if (SSL_write_ex(ssl_, bytes.data(), bytes.size(), &put) != 1) return false;
        } else {
            const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            put = static_cast<std::size_t>(n);
        }
        bytes.remove_prefix(put);
    }
    return true;
}

std::string client::read_some() {
    std::array<char, 65536> buffer{};
    if (ssl_) {
        std::size_t got = 0;
        if (SSL_read_ex(ssl_, buffer.data(), buffer.size(), &got) != 1) return {};
        return {buffer.data(), got};
    }
    const ssize_t n = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == ECONNRESET) reset_ = true;
    return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
}

bool client::more(reply& r) {
    const auto got = read_some();
    in_ += got;
    r.raw += got;
    r.any = r.any || !got.empty();
    r.reset = reset_;
    return !got.empty();
}

reply client::read(bool no_body) {
    reply r;
    r.raw = in_;
    r.any = !in_.empty();
    while (true) {
        std::size_t end = 0;
        while ((end = in_.find("\r\n\r\n")) == std::string::npos) {
            if (!more(r)) return r;
        }
        const std::string head = in_.substr(0, end + 2);
        in_.erase(0, end + 4);
        r.status = head.size() > 12 ? std::atoi(head.c_str() + 9) : 0;
        if (r.status >= 100 && r.status < 200) {
            r.early += head;
            continue;
        }
        for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
            const auto stop = head.find("\r\n", at);
            const auto line = head.substr(at, stop - at);
            const auto colon = line.find(':');
            auto name = line.substr(0, colon);
            for (char& c : name) {
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
            }
            if (colon != std::string::npos) r.headers[name] = line.substr(colon + 2);
            at = stop + 2;
        }
        break;
    }
    if (no_body || r.status == 204 || r.status == 304) {
        r.complete = true;
    } else if (r.headers.contains("transfer-encoding")) {
        const auto line = [&](std::string& out) {
            std::size_t end = 0;
            while ((end = in_.find("\r\n")) == std::string::npos) {
                if (!more(r)) return false;
            }
            out = in_.substr(0, end);
            in_.erase(0, end + 2);
            return true;
        };
        std::string text;
        while (line(text)) {
            const auto size = std::strtoul(text.c_str(), nullptr, 16);
            if (size == 0) break;
            while (in_.size() < size + 2) {
                if (!more(r)) {
                    r.body += in_;
                    return r;
                }
            }
            r.body += in_.substr(0, size);
            in_.erase(0, size + 2);
        }
        if (text != "0") return r;
        while (line(text)) {
            if (text.empty()) {
                r.complete = true;
                break;
            }
            const auto colon = text.find(": ");
            r.trailers[text.substr(0, colon)] = text.substr(colon + 2);
        }
    } else {
        const auto size = std::strtoul(r.headers["content-length"].c_str(), nullptr, 10);
        while (in_.size() < size && more(r)) {
        }
        r.complete = in_.size() >= size;
        r.body = in_.substr(0, size);
        in_.erase(0, r.body.size());
    }
    return r;
}

reply client::request(std::string_view method, std::string_view target, std::string_view body,
                      std::string_view headers) {
    std::string out(method);
    out.append(" ").append(target).append(" HTTP/1.1\r\nHost: mock\r\n").append(headers);
    if (headers.find("uthorization") == std::string_view::npos) {
        out.append("Authorization: Bearer sk-test\r\n");
    }
    if (!body.empty() || method == "POST") {
        out.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
    }
    out.append("\r\n").append(body);
    send(out);
    return read(method == "HEAD");
}

reply client::post(std::string_view target, std::string_view json, std::string_view headers) {
    return request("POST", target, json,
                   std::string(headers) + "Content-Type: application/json\r\n");
}

}  // namespace kw::mock::test
