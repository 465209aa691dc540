package platform

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// azure is an optical disk with the user data (Azure's "custom data") and a
// metadata service with the keys. Each lacks what the other has.
func azure(name, place string, m Machine) ([]Source, error) {
	service, err := over(azureService)(name, place, m)
	if err != nil {
		return nil, err
	}
	disk := Source{Name: name, Place: "ovf-env.xml", Disk: &Disk{Optical: true, Marker: "ovf-env.xml", Read: func(files datasource.Files) (datasource.Result, error) {
		return azureDisk(name, files)
	}}}
	return append([]Source{disk}, service...), nil
}

// azureService asks the instance metadata service:
// https://learn.microsoft.com/en-us/azure/virtual-machines/instance-metadata-service
func azureService(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base, "Metadata", "true")
	defer c.close()
	var meta struct {
		Compute struct {
			Name      string
			VMID      string `json:"vmId"`
			UserData  string `json:"userData"`
			OSProfile struct {
				ComputerName string `json:"computerName"`
			} `json:"osProfile"`
			PublicKeys []struct {
				KeyData string `json:"keyData"`
			} `json:"publicKeys"`
		}
	}
	var res datasource.Result
	if err := c.getJSON(ctx, "/metadata/instance?api-version=2021-08-01&format=json", &meta); err != nil {
		return res, err
	}
	m := &res.Metadata
	m.InstanceID = meta.Compute.VMID
	nameErr := datasource.SetHostname(m, cmp.Or(meta.Compute.OSProfile.ComputerName, meta.Compute.Name))
	for _, key := range meta.Compute.PublicKeys {
		m.PublicKeys = append(m.PublicKeys, datasource.Lines(key.KeyData)...)
	}
	var err error
	if res.UserData, err = decodeBase64(meta.Compute.UserData); err != nil {
		err = fmt.Errorf("userData: %w", err)
	}
	return res, errors.Join(nameErr, err)
}

// azureDisk reads ovf-env.xml. Its elements are matched by their local names:
// the prefixes of the name spaces differ.
func azureDisk(name string, files datasource.Files) (datasource.Result, error) {
	res := datasource.Result{Metadata: osconfig.Metadata{Datasource: name}}
	text, err := files("ovf-env.xml")
	if err != nil {
		return res, err
	}
	var env struct {
		Section struct {
			Set struct {
				HostName   string
				CustomData string
				SSH        struct {
					PublicKeys struct {
						PublicKey []struct{ Value string }
					}
				}
			} `xml:"LinuxProvisioningConfigurationSet"`
		} `xml:"ProvisioningSection"`
	}
	if err := xml.Unmarshal(text, &env); err != nil {
		return res, fmt.Errorf("ovf-env.xml: %w", err)
	}
	set := env.Section.Set
	nameErr := datasource.SetHostname(&res.Metadata, set.HostName)
	for _, key := range set.SSH.PublicKeys.PublicKey {
		res.Metadata.PublicKeys = append(res.Metadata.PublicKeys, datasource.Lines(key.Value)...)
	}
	if res.UserData, err = decodeBase64(set.CustomData); err != nil {
		err = fmt.Errorf("ovf-env.xml: CustomData: %w", err)
	}
	return res, errors.Join(nameErr, err)
}
