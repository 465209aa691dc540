package platform

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// DMI are the strings in which the firmware, or the hypervisor in its place,
// says what machine this is.
type DMI struct {
	SysVendor, ProductName, ProductSerial, ProductUUID string
	ChassisAssetTag, BIOSVendor, BIOSVersion           string
}

// ReadDMI reads the strings from a directory such as /sys/class/dmi/id. What
// cannot be read is empty.
func ReadDMI(dir string) DMI {
	get := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	return DMI{
		SysVendor: get("sys_vendor"), ProductName: get("product_name"), ProductSerial: get("product_serial"), ProductUUID: get("product_uuid"),
		ChassisAssetTag: get("chassis_asset_tag"), BIOSVendor: get("bios_vendor"), BIOSVersion: get("bios_version"),
	}
}

// platforms says how each platform shows itself, as far as its documentation
// or cloud-init's ds-identify knows. A machine whose firmware says nothing of
// it is asked for nothing over the network.
var platforms = []struct {
	source string
	is     func(DMI) bool
}{
	{"ec2", func(d DMI) bool {
		// Nitro; Xen, where the UUID also says so.
		return d.SysVendor == "Amazon EC2" || d.BIOSVendor == "Amazon EC2" ||
			strings.HasSuffix(d.BIOSVersion, ".amazon") && hasPrefixFold(d.ProductUUID, "ec2")
	}},
	{"gce", func(d DMI) bool {
		return d.ProductName == "Google Compute Engine" || strings.HasPrefix(d.ProductSerial, "GoogleCloud-")
	}},
	// The vendor is Microsoft on every Hyper-V; the tag is Azure's.
	{"azure", func(d DMI) bool { return d.ChassisAssetTag == "7783-7084-3265-9085-8269-3286-77" }},
	{"digitalocean", func(d DMI) bool { return d.SysVendor == "DigitalOcean" }},
	{"hetzner", func(d DMI) bool { return d.SysVendor == "Hetzner" }},
	{"oracle", func(d DMI) bool { return d.ChassisAssetTag == "OracleCloud.com" }},
	{"vultr", func(d DMI) bool { return d.SysVendor == "Vultr" }},
	{"scaleway", func(d DMI) bool { return d.SysVendor == "Scaleway" }},
	{"exoscale", func(d DMI) bool { return strings.HasPrefix(d.ProductName, "Exoscale") }},
	{"cloudstack", func(d DMI) bool { return strings.HasPrefix(d.ProductName, "CloudStack") }},
	{"aliyun", func(d DMI) bool { return d.ProductName == "Alibaba Cloud ECS" }},
	{"vmware", func(d DMI) bool {
		return hasPrefixFold(d.SysVendor, "VMware") || strings.HasPrefix(d.ProductName, "VMware")
	}},
	{"openstack", func(d DMI) bool {
		return slices.Contains([]string{"OpenStack Nova", "OpenStack Compute"}, d.ProductName) ||
			slices.Contains([]string{"OpenTelekomCloud", "HUAWEICLOUD", "SAP CCloud VM", "Samsung Cloud Platform", "OpenStack Nova", "OpenStack Compute"}, d.ChassisAssetTag)
	}},
}

// Detect returns the names of the sources that a machine with these strings
// has, most often none or one.
func Detect(d DMI) []string {
	var names []string
	for _, p := range platforms {
		if p.is(d) {
			names = append(names, p.source)
		}
	}
	return names
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// explicit returns the sources that someone asked for without configuring
// them: on the kernel command line, or in the serial number that a hypervisor
// gives the machine by its settings.
func explicit(m Machine) []string {
	var items []string
	if cloudConfigURL(m.KernelLine) != "" {
		items = append(items, "cmdline")
	}
	for _, text := range []string{cmdline.Parse(m.KernelLine).Get("ds"), serialSeed(m.DMI.ProductSerial)} {
		if seed := noCloudSeedAddress(text); seed != "" {
			items = append(items, "nocloud:"+seed)
		}
	}
	return items
}

func cloudConfigURL(kernelLine string) string {
	params := cmdline.Parse(kernelLine)
	if address := params.Get("cloud-config-url"); address != "" {
		return address
	}
	return params.Get("url") // cloud-init's other name for it
}

// serialSeed returns the "ds=" in a serial number.
func serialSeed(serial string) string {
	for word := range strings.FieldsSeq(serial) {
		if text, ok := strings.CutPrefix(word, "ds="); ok {
			return text
		}
	}
	return ""
}

// noCloudSeedAddress returns the place in cloud-init's "nocloud;s=PLACE;h=…".
func noCloudSeedAddress(text string) string {
	name, options, _ := strings.Cut(text, ";")
	if name = strings.ToLower(name); name != "nocloud" && name != "nocloud-net" {
		return ""
	}
	for option := range strings.SplitSeq(options, ";") {
		for _, key := range []string{"s=", "seedfrom="} {
			if place, ok := strings.CutPrefix(option, key); ok {
				return place
			}
		}
	}
	return ""
}
