// The special-purpose registries of IANA for IPv4 and IPv6, as far as they are not global.
#include "http/address.hpp"

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <algorithm>
#include <cstring>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>

namespace sluice::sidecar {

namespace {

namespace ip = boost::asio::ip;

constexpr const char *special_v4[] = {
    "0.0.0.0/8",      "10.0.0.0/8",     "100.64.0.0/10",   "127.0.0.0/8",     "169.254.0.0/16",
    "172.16.0.0/12",  "192.0.0.0/24",   "192.0.2.0/24",    "192.31.196.0/24", "192.52.193.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",   "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
};

// Of what is global unicast at all.  2001::/23 has Teredo and other protocols' addresses, 2002::/16 is 6to4.
constexpr const char *special_v6[] = {"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"};

bool is_public_v4(const ip::address_v4 &address)
{
    static const auto networks = [] {
        std::vector<ip::network_v4> list;
        for (const char *text : special_v4)
            list.push_back(ip::make_network_v4(text));
        return list;
    }();
    return std::none_of(networks.begin(), networks.end(), [&](const ip::network_v4 &network) {
        return (address.to_uint() & network.netmask().to_uint()) == network.network().to_uint();
    });
}

bool lies_in(const ip::address_v6 &address, const char *network_text)
{
    const ip::network_v6 network = ip::make_network_v6(network_text);
    return ip::make_network_v6(address, network.prefix_length()).canonical() == network.canonical();
}

ip::address_v4 last_four_bytes(const ip::address_v6 &address)
{
    const auto                 bytes = address.to_bytes();
    ip::address_v4::bytes_type last{};
    std::copy(bytes.end() - 4, bytes.end(), last.begin());
    return ip::address_v4{last};
}

bool is_public_v6(const ip::address_v6 &address)
{
    if (lies_in(address, "::ffff:0:0/96") || lies_in(address, "64:ff9b::/96"))
        return is_public_v4(last_four_bytes(address));
    return lies_in(address, "2000::/3") &&
           std::none_of(std::begin(special_v6), std::end(special_v6),
                        [&](const char *network) { return lies_in(address, network); });
}

} // namespace

bool is_public(const ip::address &address)
{
    return address.is_v4() ? is_public_v4(address.to_v4()) : is_public_v6(address.to_v6());
}

bool is_public(const sockaddr &address)
{
    if (address.sa_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address, sizeof v4);
        return is_public_v4(ip::address_v4{ntohl(v4.sin_addr.s_addr)});
    }
    if (address.sa_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address, sizeof v6);
        ip::address_v6::bytes_type bytes{};
        std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
        return is_public_v6(ip::address_v6{bytes});
    }
    return false;
}

bool is_public(std::string_view address)
{
    boost::system::error_code error;
    const ip::address         parsed = ip::make_address(std::string{address}, error);
    return !error && is_public(parsed);
}

} // namespace sluice::sidecar
